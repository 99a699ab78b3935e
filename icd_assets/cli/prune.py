"""``icd-assets prune``: remove what no kept checkpoint needs; shown first."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import click

from icd_assets.cli.cell_arguments import GpuCommand
from icd_assets.cli.json_output import json_option, print_json
from icd_assets.cli.remote import prune_remote, remote_option, require_no
from icd_assets.cli.screen import console
from icd_assets.cli.session import Session
from icd_assets.errors import UserError
from icd_assets.runtime.foreign import printable
from icd_assets.upkeep.prune import Keep, Removal, removals
from icd_assets.upkeep.prune import prune as remove

SCHEMA = 1
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}


@click.command(
    cls=GpuCommand,
    short_help="Remove epochs and leftovers that nothing needs.",
    examples=(
        "icd-assets prune",
        "icd-assets prune --keep 3 --older-than 30d --yes",
        "icd-assets prune --earlier 1              # of evaluations",
    ),
)
@click.argument("cells", nargs=-1, metavar="[CELL]...")
@click.option("--keep", default="best", metavar="best|last|K", help="Which epochs stay besides the last. [best]")
@click.option(
    "--older-than", metavar="30d", help="Only what was made so long ago: hours (h), days (d), weeks (w)."
)
@click.option(
    "--earlier",
    type=click.IntRange(min=0),
    metavar="K",
    help="Of evaluations that were replaced keep the last K. [all]",
)
@remote_option
@click.option("--yes", is_flag=True, help="Do it; without, only show it.")
@json_option
def prune(
    cells: tuple[str, ...],
    keep: str,
    older_than: str | None,
    earlier: int | None,
    remote: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Remove epochs that nothing needs, and (without CELLs) leftovers of interrupted or replaced work.

    The last epoch and the one that became the v2-format file always stay, and so does all that you imported,
    adopted or changed. What was removed is recorded, and is not made again for its own sake.

    With --remote: what was replaced there, and files that nothing there names, put more than a day ago.
    """
    if remote is not None:
        require_no({"CELL": bool(cells), "--keep": keep != "best", "--earlier": earlier is not None})
        prune_remote(remote, _age(older_than) or timedelta(days=1), yes=yes, as_json=as_json)
        return
    session = Session.here()
    keys = {cell.key for cell in session.cells(cells)}
    found, alone = removals(
        session.store, _keep(keep), older_than=_age(older_than), cells=keys, keep_earlier=earlier
    )
    if as_json:
        freed = remove(session.store, found) if yes else 0
        print_json(SCHEMA, _document(session, found, alone, removed=yes, freed=freed))
        return
    for one in found:
        console.print(printable(_line(session, one)))
    for sentence in alone:
        console.print(printable(f"left alone: {sentence}"))
    if not found:
        console.print("nothing to prune")
    elif yes:
        console.print(f"removed {len(found)}, {remove(session.store, found) / 1e6:.1f} MB freed")
    else:
        size = sum(one.size for one in found)
        console.print(f"would remove {len(found)}, {size / 1e6:.1f} MB; repeat it with --yes to do it")


def _document(
    session: Session, found: list[Removal], alone: list[str], *, removed: bool, freed: int
) -> dict[str, Any]:
    return {
        "results_root": str(session.store.root),
        "removed": removed,
        "freed": freed,
        "removals": [{"path": str(one.path), "size": one.size, "why": one.why} for one in found],
        "left_alone": alone,
    }


def _line(session: Session, one: Removal) -> str:
    return f"{one.size / 1e6:9.1f} MB  {one.path.relative_to(session.store.root)}: {one.why}"


def _keep(text: str) -> Keep:
    if text == "best":
        return "best"
    if text == "last":
        return "last"
    if not text.isdecimal() or int(text) < 1:
        raise UserError(f"--keep {text}: give best, last, or how many of the last epochs to keep.")
    return int(text)


def _age(text: str | None) -> timedelta | None:
    if text is None:
        return None
    if (found := re.fullmatch(r"(\d{1,5})([hdw])", text)) is None:
        raise UserError(f"--older-than {text}: give a number and h, d or w, e.g. 30d.")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})
