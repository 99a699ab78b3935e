"""``icd-assets doctor``: everything that could stop a run, one line each, and what is safe to fix is fixed."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence

import click
from rich.text import Text

from icd_assets.cli.cell_arguments import CellArguments, GpuCommand
from icd_assets.cli.cells import FORMS
from icd_assets.cli.json_output import json_option, print_json
from icd_assets.cli.options import setting_options
from icd_assets.cli.screen import console
from icd_assets.errors import UserError
from icd_assets.experiment.catalog import Catalog
from icd_assets.experiment.experiment import results_root
from icd_assets.experiment.settings import Settings
from icd_assets.experiment.steps import STEP
from icd_assets.runtime.finding import Finding, findings

SCHEMA = 2  # 1 had the level "mended"
_STYLES = {"ok": "green", "fixed": "cyan", "warning": "yellow", "problem": "red"}


@click.command(
    cls=GpuCommand,
    short_help="Look for what would stop a run, before it costs hours.",
    examples=(
        "icd-assets doctor",
        "icd-assets doctor demo rand_sampler tiny_vl",
        "icd-assets doctor vqa demo 0 query_img_text_icd_img_text rand_sampler tiny_vl",
    ),
)
@click.argument("names", nargs=-1, metavar="[CELL]")
@setting_options
@click.option(
    "--to",
    type=click.Choice(list(STEP)),
    metavar="ASSET",
    help="As of train: the run would stop after this asset.",
)
@click.option("--fix/--no-fix", default=True, help="Fix what is safe to fix. [default: fix]")
@click.option(
    "--smoke/--no-smoke",
    default=None,
    help="Ask the model 20 questions, and keep its answers. [default: if it takes seconds]",
)
@json_option
def doctor(
    names: tuple[str, ...], settings: Settings, to: str | None, fix: bool, smoke: bool | None, as_json: bool
) -> None:
    """Look for what would stop a run, before it costs hours.

    With a CELL (its key, dataset sampler model, or train's six arguments): all that train checks before its first
    step, the memory, and the model's answers to 20 questions (accuracy, three answers beside the right ones,
    seconds); without one, the instance, the leftovers of killed runs, and what is there of each dataset and model.
    Exit code 2 if something blocks.

    Fixed are: runs marked as running whose process is gone, the pool slots they hold, a GPU pool without limit,
    and half-done commits and staged files of killed runs. Artifacts and your own files are never touched.
    """
    if len(names) not in (0, 3, 6) and "|" not in names[0]:
        raise click.UsageError(f"{FORMS}; or nothing.")
    found = _home(fix, lambda: _cell(names, settings, to, fix, smoke) if names else _everything(fix))
    blocked = any(finding.level == "problem" for finding in found)
    if as_json:
        lines = [{"subject": f.subject, "level": f.level, "found": f.found, "todo": f.todo} for f in found]
        print_json(SCHEMA, {"blocked": blocked, "findings": lines})
    else:
        _show(found, blocked)
    sys.exit(2 if blocked else 0)


def _home(fix: bool, rest: Callable[[], list[Finding]]) -> list[Finding]:
    """The instance, and the rest after it: without a home, relative paths mean nothing."""
    from icd_assets.defs.runs.instance import enter_home

    try:
        home = enter_home()
    except UserError as error:
        return [Finding("home", "problem", str(error))]
    from icd_assets.defs.runs.instance_checks import check_instance

    return [*check_instance(home, fix=fix), *rest()]


def _cell(
    names: tuple[str, ...], settings: Settings, to: str | None, fix: bool, smoke: bool | None
) -> list[Finding]:
    from icd_assets.upkeep.doctor.cell import check_cell

    try:
        opened = CellArguments.of(names).open(settings, read_only=True)
    except UserError as error:
        return [Finding("cell", "problem", str(error))]
    return check_cell(opened, to, fix=fix, ask=smoke)


def _everything(fix: bool) -> list[Finding]:
    from icd_assets.experiment.checks.places import place
    from icd_assets.upkeep.doctor.cell import check_catalog, check_results

    try:
        catalog = Catalog.load()
    except UserError as error:
        return [Finding("catalog", "problem", str(error))]
    try:
        root = results_root()
    except UserError as error:
        return [Finding("results", "problem", str(error))]
    return [
        *findings("results", lambda: place("results", root)),
        *check_results(root, fix=fix),
        *check_catalog(catalog, root),
    ]


def _show(found: Sequence[Finding], blocked: bool) -> None:
    for finding in found:
        line = Text(f"{finding.level:<8} ", style=_STYLES[finding.level])
        line.append(f"{finding.subject:<14} {finding.found}", style="default")
        if finding.todo:
            line.append(f": {finding.todo}", style="bold")
        console.print(line)
    counts = Counter(finding.level for finding in found)
    console.print(f"\nproblems: {counts['problem']}, warnings: {counts['warning']}, fixed: {counts['fixed']}")
    console.print("something would stop the run" if blocked else "nothing would stop the run")
