"""``icd-assets verify``: every file of every artifact read again."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import click
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from icd_assets.cli.help import Command
from icd_assets.cli.screen import console
from icd_assets.cli.session import Session
from icd_assets.cli.tree import printable
from icd_assets.upkeep.verify import Findings
from icd_assets.upkeep.verify import verify as verify_all

_TITLES = {
    "rotted": "ROTTED, or not to be read",
    "unfinished": "half-written (the next run goes on from it, or `icd-assets prune` removes it)",
    "orphaned": "orphaned: ours, but no manifest names it any more (`icd-assets prune` removes it)",
    "kept": "yours, moved aside and never touched",
    "foreign": "not ours (`icd-assets adopt` looks at what Lever-Plus wrote)",
    "working": "at work right now, so some of the above may be theirs",
}


@click.command(
    cls=Command,
    short_help="Read every file again, and name what is not as recorded.",
    examples=(
        "icd-assets verify",
        "icd-assets verify demo rand_sampler tiny_vl --json",
    ),
)
@click.argument("cells", nargs=-1, metavar="[CELL]...")
@click.option("--json", "as_json", is_flag=True, help="The findings as one JSON document.")
def verify(cells: tuple[str, ...], as_json: bool) -> None:
    """Read every file under the results root again (or those of CELLs), and name what is not as recorded.

    Exit code 2 if something rotted. The demo's `demo|RandSampler/tiny_vl` is a CELL.
    """
    session = Session.here(rehash=True)
    keys = {session.cell([word]).key for word in cells}
    columns = (TextColumn("reading"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=as_json or not console.is_terminal) as bar:
        task = bar.add_task("reading", total=None)
        found = verify_all(session.store, keys, lambda done, total: bar.update(task, completed=done, total=total))
    if as_json:
        click.echo(
            json.dumps({"verify_schema": 1, "results_root": str(session.store.root), **asdict(found)}, indent=1)
        )
    else:
        _show(found)
    if found.rotted:
        sys.exit(2)


def _show(found: Findings) -> None:
    pruned = f", {found.pruned} were pruned" if found.pruned else ""
    console.print(f"read {found.files} files, {found.bytes / 1e6:.1f} MB{pruned}")
    for name, title in _TITLES.items():
        lines = getattr(found, name)
        if lines:
            console.print(f"\n{title}", style="bold red" if name == "rotted" else "bold", markup=False)
        for line in lines:
            console.print(printable(f"  {line}"), markup=False)
    if not found.rotted:
        console.print("nothing rotted")
