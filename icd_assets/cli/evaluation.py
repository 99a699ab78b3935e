"""``icd-assets evaluation``: the evaluation table of one cell again."""

from __future__ import annotations

import click

from icd_assets.cli.help import Command
from icd_assets.experiment.catalog import Catalog
from icd_assets.experiment.experiment import Experiment, results_root
from icd_assets.experiment.settings import read_settings


@click.command(
    cls=Command,
    short_help="The evaluation table of a cell again.",
    examples=(
        "icd-assets evaluation",
        "icd-assets evaluation 'okvqa|RandSampler/Qwen2_5-VL-3B-Instruct'",
    ),
)
@click.argument("dataset", default="demo")
@click.argument("sampler", default="rand_sampler")
@click.argument("model", default="tiny_vl")
def evaluation(dataset: str, sampler: str, model: str) -> None:
    """Print the evaluation table of one cell again."""
    from icd_assets.cli.summary import show_evaluation
    from icd_assets.defs.runs.instance import enter_home

    enter_home()
    catalog = Catalog.load()
    cell = catalog.cell(dataset, sampler, model)
    show_evaluation(Experiment.open(cell, read_settings(), results_root(), catalog))
