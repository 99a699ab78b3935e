"""``icd-assets init``: make a folder the place where the commands work."""

from __future__ import annotations

from pathlib import Path

import click

from icd_assets.cli.echo import echo
from icd_assets.cli.help import Command
from icd_assets.cli.place import Place


@click.command(
    cls=Command,
    short_help="Make a folder the place where the commands work.",
    examples=("icd-assets init", "icd-assets init experiments"),
)
@click.argument("folder", default=".", type=Place(file_okay=False))
def init(folder: Path) -> None:
    """Make FOLDER a home: write dagster.yaml, workspace.yaml and a commented .env.

    Commands work in the nearest folder above that holds a dagster.yaml, or in DAGSTER_HOME. A file that is there
    already is kept. Dagster's telemetry is off.
    """
    from icd_assets.runtime.new_home import write_home

    show_written(folder, write_home(folder))
    echo("next: name your datasets in .env, or try the whole pipeline on a tiny world: icd-assets demo")


def show_written(folder: Path, written: list[Path]) -> None:
    """``/data/icd: wrote dagster.yaml, workspace.yaml, .env``"""
    names = ", ".join(path.name for path in written)
    echo(f"{folder.absolute()}: wrote {names}" if written else f"{folder.absolute()} is a home already")
