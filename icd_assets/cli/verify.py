"""``icd-assets verify``: every file of every artifact read again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import click

from icd_assets.cli.cell_arguments import GpuCommand
from icd_assets.cli.json_output import json_option, print_json
from icd_assets.cli.moving_line import MovingLine
from icd_assets.cli.options import setting_options
from icd_assets.cli.screen import console
from icd_assets.cli.session import Session
from icd_assets.errors import UserError
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.settings import Settings
from icd_assets.experiment.settings_origins import GivenBy
from icd_assets.experiment.steps import STEP
from icd_assets.runtime.foreign import printable
from icd_assets.upkeep.verify import Findings
from icd_assets.upkeep.verify import verify as verify_all

SCHEMA = 2  # 1 was called verify_schema
_TITLES = {
    "rotted": "ROTTED, or not to be read",
    "unfinished": "half-written (the next run goes on from it, or `icd-assets prune` removes it)",
    "orphaned": "orphaned: ours, but no manifest names it any more (`icd-assets prune` removes it)",
    "kept": "yours, moved aside and never touched",
    "foreign": "not ours (`icd-assets adopt` looks at what Lever-Plus wrote)",
    "working": "at work right now, so some of the above may be theirs",
}


@click.command(
    cls=GpuCommand,
    short_help="Read every file again, and name what is not as recorded.",
    examples=(
        "icd-assets verify",
        "icd-assets verify demo rand_sampler tiny_vl --json",
    ),
)
@click.argument("cells", nargs=-1, metavar="[CELL]...")
@setting_options(given=True)
@json_option
def verify(
    cells: tuple[str, ...],
    settings: Settings,
    by: GivenBy,
    as_json: bool,
) -> None:
    """Read every file under the results root again (or those of CELLs), and name what is not as recorded.

    Of a cell all is read, whatever its reward, name and numbers; with flags of settings only what these mean. Exit
    code 2 if something rotted.
    """
    session = Session.here(settings, rehash=True)
    chosen = session.cells(cells)
    places = None
    if by.preset is not None or by.flags or by.assignments:
        if not chosen:
            raise UserError("flags of settings choose among the artifacts of a cell; name a CELL.")
        places = {
            str(path.relative_to(session.store.root)) for cell in chosen for path in _paths(session.open(cell))
        }
    keys = {cell.key for cell in chosen}
    line = MovingLine("reading")

    def show(done: int, total: int) -> None:
        line.work = f"reading: {done / 1e6:,.0f} of {total / 1e6:,.0f} MB"

    with nullcontext() if as_json else line:
        found = verify_all(session.store, keys, show, places=places)
    if as_json:
        print_json(SCHEMA, {"results_root": str(session.store.root), **asdict(found)})
    else:
        _show(found)
    if found.rotted:
        sys.exit(2)


def _paths(experiment: Experiment) -> Iterator[Path]:
    """Where the manifests of an experiment lie."""
    for asset in STEP:
        path = experiment.manifest_path(asset)
        if path.is_relative_to(experiment.store.root):
            yield path


def _show(found: Findings) -> None:
    pruned = f", {found.pruned} were pruned" if found.pruned else ""
    console.print(f"read {found.files} files, {found.bytes / 1e6:.1f} MB{pruned}")
    for folder, count in found.folders.items():
        console.print(printable(f"  {folder}: {count}"))
    for name, title in _TITLES.items():
        lines = getattr(found, name)
        if lines:
            console.print(f"\n{title}", style="bold red" if name == "rotted" else "bold")
        for line in lines:
            console.print(printable(f"  {line}"))
    if not found.rotted:
        console.print("nothing rotted")
