"""``icd-assets evaluation``: the evaluation table of one cell again."""

from __future__ import annotations

from collections.abc import Mapping

import click

from icd_assets.cli.cell_arguments import GpuCommand
from icd_assets.cli.echo import echo
from icd_assets.cli.json_output import json_option, print_json
from icd_assets.cli.options import setting_options
from icd_assets.cli.screen import console
from icd_assets.cli.session import Session
from icd_assets.errors import UserError
from icd_assets.evaluation.report import Comparison
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.seeds import of_seeds, read_seeds
from icd_assets.experiment.settings import Settings
from icd_assets.lineage import Records
from icd_assets.lineage.there import fitting, flags, others, under
from icd_assets.runtime.foreign import printable

SCHEMA = 1


@click.command(
    cls=GpuCommand,
    short_help="The evaluation table of a cell again.",
    examples=(
        "icd-assets evaluation                     # of the demo",
        "icd-assets evaluation 'okvqa|RandSampler/Qwen2_5-VL-3B-Instruct'",
        "icd-assets evaluation demo rand_sampler tiny_vl --reward-mode legacy",
        "icd-assets evaluation --seeds 42,43,44    # the table over seeds",
    ),
)
@click.argument("cell", nargs=-1)
@setting_options
@click.option("--seeds", metavar="N,N,…", help="The table over these seeds, as train --seeds prints it.")
@json_option
def evaluation(cell: tuple[str, ...], settings: Settings, seeds: str | None, as_json: bool) -> None:
    """Print the evaluation table of CELL again: of the reward and the name that the settings mean.

    Those under which the cell is evaluated too are named.
    """
    chosen = None if seeds is None else read_seeds(seeds)
    session = Session.here(settings)
    experiment, problem = fitting(session.open(session.cell_or_demo(cell)))
    if problem is not None:
        echo(f"icd-assets: {problem} Shown without it.", err=True)
    if chosen is not None:
        _show_seeds(of_seeds(experiment, chosen), as_json)
        return
    elsewhere = _elsewhere(experiment, Records(session.store))
    if experiment.manifest("evaluation") is None and elsewhere:
        raise UserError(
            f"{experiment.cell} is not evaluated under these settings; it is "
            f"{', and '.join(map(under, elsewhere))}."
        )
    if as_json:
        manifest = experiment.store.require(experiment.manifest_path("evaluation"), "evaluation")
        path = experiment.store.files(manifest)[0]
        comparison = Comparison.read(path).model_dump(mode="json")
        document = {"cell": str(experiment.cell), "file": str(path), "comparison": comparison, "others": elsewhere}
        print_json(SCHEMA, document)
        return
    from icd_assets.cli.summary import show_evaluation

    show_evaluation(experiment)
    for text in elsewhere:
        console.print(printable(f"also evaluated: {under(text)}"))


def _show_seeds(found: Mapping[int, Experiment], as_json: bool) -> None:
    from icd_assets.cli.seeds import read_evaluations, show_seeds

    if not as_json:
        show_seeds(found)
        return
    over, files = read_evaluations(found)
    named = {str(seed): str(path) for seed, path in files.items()}
    cell = str(next(iter(found.values())).cell)
    print_json(SCHEMA, {"cell": cell, "files": named, "over_seeds": over.as_json()})


def _elsewhere(experiment: Experiment, records: Records) -> list[str]:
    """The flags of the cell's other experiments that are evaluated."""
    here, found = experiment.manifest_path("evaluation"), []
    for one in others(experiment, records.live.values()):
        path = one.manifest_path("evaluation")
        if path != here and path.is_file():
            found.append(flags(one, experiment))
    return found
