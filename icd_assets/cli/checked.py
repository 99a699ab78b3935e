"""The checks before a run as ``train`` shows them: warnings in a line each, problems as the reason to stop."""

from __future__ import annotations

from icd_assets.errors import UserError
from icd_assets.experiment.plan import Plan


def require_clear(plan: Plan) -> None:
    """Raises ``UserError`` with every problem in the way of ``plan``; the doctor shows the rest."""
    from icd_assets.cli.screen import console
    from icd_assets.experiment.checks import Look, check

    def note(sentence: str) -> None:
        console.print(sentence, markup=False)

    problems: list[str] = []
    for finding in check(Look(plan, note=note)):
        text = f"{finding.found.rstrip('.')}; {finding.todo}" if finding.todo else finding.found.rstrip(".")
        if finding.level == "warning":
            console.print(f"warning: {text}", markup=False)
        elif finding.level == "problem":
            problems.append(text)
    if len(problems) == 1:
        raise UserError(f"{problems[0]}.")
    if problems:
        listed = "".join(f"\n  {text}." for text in problems)
        raise UserError(f"{len(problems)} things are in the way, and nothing was begun:{listed}")
