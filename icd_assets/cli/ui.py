"""``icd-assets ui``: Dagster's UI on the project."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from icd_assets.cli.help import Command


@click.command(
    cls=Command,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    short_help="Open Dagster's UI on the project.",
    examples=("icd-assets ui", "icd-assets ui --port 3001"),
)
@click.pass_context
def ui(context: click.Context) -> None:
    """Open Dagster's UI on the project; further options go to `dagster dev`, e.g. --port 3001."""
    from icd_assets.defs.runs.instance import open_instance

    with open_instance():
        pass  # creates the instance's tables before two processes try to
    where = ["-w", "workspace.yaml"] if Path("workspace.yaml").is_file() else ["-m", "icd_assets.definitions"]
    program = str(Path(sys.executable).with_name("dagster"))
    os.execv(program, [program, "dev", *where, *context.args])
