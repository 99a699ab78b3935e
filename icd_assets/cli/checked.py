"""The checks before a run as ``train`` shows them: warnings in a line each, problems as the reason to stop."""

from __future__ import annotations

from collections.abc import Iterable

from icd_assets.errors import UserError
from icd_assets.experiment.plan import Plan
from icd_assets.runtime.finding import Finding


def require_clear(plan: Plan) -> None:
    """Raises ``UserError`` with every problem in the way of ``plan``; the doctor shows the rest."""
    from icd_assets.cli.screen import console
    from icd_assets.experiment.checks import Look, check

    def note(sentence: str) -> None:
        console.print(sentence)

    found = []
    for finding in check(Look(plan, note=note)):
        found.append(finding)
        if finding.level == "warning":
            console.print(f"warning: {_in_words(finding)}")
    require_no_problem(found)


def require_no_problem(found: Iterable[Finding]) -> None:
    """Raises ``UserError`` with every problem of a plan's findings."""
    problems = [_in_words(finding) for finding in found if finding.level == "problem"]
    if len(problems) == 1:
        raise UserError(f"{problems[0]}.")
    if problems:
        listed = "".join(f"\n  {text}." for text in problems)
        raise UserError(f"{len(problems)} things are in the way, and nothing was begun:{listed}")


def _in_words(finding: Finding) -> str:
    found = finding.found.rstrip(".")
    return f"{found}; {finding.todo}" if finding.todo else found
