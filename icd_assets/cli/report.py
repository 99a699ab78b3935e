"""``icd-assets report``: what a cell found, as one HTML file."""

from __future__ import annotations

import webbrowser
from collections.abc import Iterable
from pathlib import Path

import click

from icd_assets.cli.cell_arguments import GpuCommand
from icd_assets.cli.echo import echo
from icd_assets.cli.options import setting_options
from icd_assets.cli.place import Place
from icd_assets.cli.screen import console
from icd_assets.cli.session import Session
from icd_assets.cli.summary import path_shown
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.settings import Settings
from icd_assets.lineage.there import fitting
from icd_assets.runtime.plain_file import open_plain
from icd_assets.runtime.progress import Progress
from icd_assets.store.atomic import write_atomic

NAME = "report.html"
_HEAD = 2000  # bytes at a page's beginning that name the evaluation


@click.command(
    cls=GpuCommand,
    short_help="What a cell found, as one HTML file.",
    examples=(
        "icd-assets report                         # of the demo",
        "icd-assets report okvqa rand_sampler qwen2.5_vl_3B --open",
        "icd-assets report okvqa rand_sampler qwen2.5_vl_3B --output okvqa.html",
    ),
)
@click.argument("cell", nargs=-1, metavar="[CELL]")
@click.option("--output", type=Place(dir_okay=False), help="[default: beside the evaluation]")
@click.option("--open", "opened", is_flag=True, help="Open it in the browser.")
@setting_options
def report(cell: tuple[str, ...], output: Path | None, opened: bool, settings: Settings) -> None:
    """Write the report of CELL: scores, every question with what was chosen for it, training curves, lineage.

    It is one file that opens anywhere, also without a network: it holds its pictures, small, and fetches nothing.
    Of a cell with several experiments, --name and the reward say which is meant.
    """
    session = Session.here(settings)
    experiment, problem = fitting(session.open(session.cell_or_demo(cell)))
    if problem is not None:
        echo(f"icd-assets: {problem} Shown without it.", err=True)
    path = write_report(experiment, output)
    console.print(f"report: {path_shown(path)}")
    if opened:
        webbrowser.open(path.resolve().as_uri())


def write_reports(experiments: Iterable[Experiment]) -> None:
    """Those of several cells, where they are not of today's evaluation, and say where each lies."""
    for experiment in experiments:
        path = experiment.paths.evaluation / NAME
        if not _current(experiment, path):
            write_report(experiment)
        console.print(f"report, with every question: {path_shown(path)}")


def _current(experiment: Experiment, path: Path) -> bool:
    """Whether a report names the evaluation that is there."""
    manifest = experiment.manifest("evaluation")
    try:
        with open_plain(path) as file:
            return manifest is not None and f'"{manifest.data_version}"'.encode() in file.read(_HEAD)
    except OSError:
        return False


def write_report(experiment: Experiment, output: Path | None = None) -> Path:
    """Write the report of an evaluated cell, by default beside its evaluation, and say where."""
    from icd_assets.report.cell_report import render

    path = output or experiment.paths.evaluation / NAME
    page = render(experiment, Progress("report", lambda text: echo(text, err=True)))
    write_atomic(path, page.encode())
    return path
