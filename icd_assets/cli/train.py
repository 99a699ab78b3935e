"""``icd-assets train`` (the six arguments of train_v3.sh) and ``demo``: make what one cell needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from icd_assets.cli.cell_arguments import SELECTOR_INPUT, CellArguments, GpuCommand
from icd_assets.cli.echo import echo
from icd_assets.cli.help import Command
from icd_assets.cli.json_output import json_option
from icd_assets.cli.options import note_misspelt, setting_options
from icd_assets.cli.plan_document import show_plan_as_json
from icd_assets.errors import UserError
from icd_assets.experiment.experiment import Experiment, results_root
from icd_assets.experiment.plan import Plan, require_assets
from icd_assets.experiment.recipes import implied, with_recipe
from icd_assets.experiment.seeds import read_seeds
from icd_assets.experiment.settings import Settings, read_settings
from icd_assets.experiment.steps import STEP
from icd_assets.runtime.device import OnRay, wanted_workers
from icd_assets.runtime.home import find_home
from icd_assets.runtime.locks import Holder
from icd_assets.runtime.ray_cluster import require_ray

if TYPE_CHECKING:
    from icd_assets.experiment.recipe_cost import RecipeCost

Where = Literal["here", "followed", "elsewhere"]  # a run is made: in this process, or in Dagster's queue

_DEMOS = {
    "one word": CellArguments("vqa", "demo", "0", SELECTOR_INPUT, "rand_sampler", "tiny_vl"),
    "two words": CellArguments("vqa", "demo_pairs", "0", SELECTOR_INPUT, "rand_sampler", "tiny_vl"),
}


@click.command(
    cls=GpuCommand,
    short_help="Make everything that one cell needs and lacks.",
    examples=(
        "icd-assets train                      # the cell of train_v3.sh's defaults",
        "icd-assets train vqa demo 0 query_img_text_icd_img_text rand_sampler tiny_vl",
        "icd-assets train vqa okvqa_local --rce-epochs 3 --dry-run",
        "icd-assets train vqa okvqa_local --to rl_data --set rl_data.num_beams=8",
        "icd-assets train demo rand_sampler tiny_vl --seeds 42,43,44",
    ),
)
@click.argument("words", nargs=-1, metavar="[CELL]")
@setting_options(listed=True)
@click.option("--dry-run", is_flag=True, help="Print what would be made and why, and stop.")
@json_option
@click.option("--to", metavar="ASSET", help="Stop after this asset, e.g. --to rl_data.")
@click.option("--seeds", metavar="N,N,…", help="Under each of these seeds, and a table over them.")
@click.option("--force", multiple=True, metavar="ASSET", help="Make this asset again in any case.")
@click.option("--launch", is_flag=True, help="In Dagster's queue. --no-follow: do not wait for its end.")
@click.option("--no-follow", is_flag=True, hidden=True)
def train(
    words: tuple[str, ...],
    settings: Settings,
    dry_run: bool,
    as_json: bool,
    to: str | None,
    seeds: str | None,
    force: tuple[str, ...],
    launch: bool,
    no_follow: bool,
) -> None:
    """Make everything one cell needs, and only that: from candidate pools to the evaluation table.

    CELL is what train_v3.sh takes, with its aliases and its defaults: TASK DATASET GPU_ID LEVER_LM SAMPLER MODEL;
    or a key such as 'demo|RandSampler/tiny_vl'; or DATASET SAMPLER MODEL.
    """
    if as_json and not dry_run:
        raise click.UsageError("--json shows a plan: give --dry-run too.")
    if launch and (dry_run or seeds is not None):
        raise click.UsageError(f"--launch is not for {'--dry-run' if dry_run else '--seeds'}: leave one out.")
    if no_follow and not launch:
        raise click.UsageError("--no-follow is about a launched run: give --launch too.")
    arguments = CellArguments.of(words)
    require_assets(to, force)
    if (meant := implied(settings, to, force)) is not None:
        settings = with_recipe(settings, meant.recipe)
        echo(f"icd-assets: recipe {meant.recipe}, for {meant.because}; --recipe names another", err=True)
    if seeds is None:
        where: Where = "here" if not launch else "elsewhere" if no_follow else "followed"
        run_cell(arguments, settings, dry_run=dry_run, as_json=as_json, to=to, force=force, where=where)
        return
    from icd_assets.cli.seeds import run_seeds

    run_seeds(arguments, settings, read_seeds(seeds), dry_run=dry_run, as_json=as_json, to=to, force=force)


@click.command(
    cls=Command,
    short_help="The whole pipeline on the built-in world.",
    examples=("icd-assets demo",),
)
def demo() -> None:
    """The whole pipeline on the built-in world: two tiny datasets, a tiny vision-language model.

    An answer of one word takes one demonstration that shows it; one of two words takes two that complement each
    other. Where no home is, this folder becomes one, as by `icd-assets init`.
    """
    from icd_assets.cli.report import write_reports
    from icd_assets.cli.summary import show_cells, show_ui

    results_root()  # refused before anything is written
    if find_home() is None:
        from icd_assets.cli.init import show_written
        from icd_assets.runtime.new_home import write_home

        show_written(here := Path.cwd(), write_home(here))
    note_misspelt()
    made = {}
    for kind, arguments in _DEMOS.items():
        made[kind] = arguments.open(read_settings())
        make(made[kind], arguments, dry_run=False, to=None, force=())
        echo()
    show_cells(made)
    echo()
    write_reports(made.values())
    show_ui()


def run_cell(
    arguments: CellArguments,
    settings: Settings,
    *,
    dry_run: bool = False,
    as_json: bool = False,
    to: str | None = None,
    force: tuple[str, ...] = (),
    where: Where = "here",
) -> None:
    """Plan one cell, make what is missing or changed, and print the summary."""
    from icd_assets.cli.summary import show_summary

    require_assets(to, force)  # before another command of the cell is waited for
    experiment = arguments.open(settings)
    if as_json:
        show_plan_as_json(Plan.of(experiment, to=to, force=force).as_read_only())
        return
    plan = make(experiment, arguments, dry_run=dry_run, to=to, force=force, where=where)
    if plan.evaluates and not dry_run and where != "elsewhere":
        show_summary(experiment)


def make(
    experiment: Experiment,
    arguments: CellArguments,
    *,
    dry_run: bool,
    to: str | None,
    force: tuple[str, ...],
    where: Where = "here",
) -> Plan:
    """Show what is to be made of one cell, and unless it is a dry run make it."""
    from icd_assets.cli.summary import show_configuration

    if isinstance(wanted_workers(), OnRay) and where == "here":  # a mistake is named before anything is made
        require_ray()
    show_configuration(experiment, arguments, force)
    with nullcontext() if dry_run else _turn(experiment):
        plan = _planned(experiment, to, force, dry_run=dry_run)
        if not dry_run:
            _make(plan, where)
    return plan


@contextmanager
def _turn(experiment: Experiment) -> Iterator[None]:
    """One command per cell; who waits sees for whom."""
    from icd_assets.cli.moving_line import MovingLine

    with ExitStack() as turn:
        with MovingLine("waiting") as line:
            turn.enter_context(experiment.store.turn(experiment.cell.key, Holder("another command"), line.say))
        yield


def _planned(experiment: Experiment, to: str | None, force: tuple[str, ...], *, dry_run: bool) -> Plan:
    """The plan, shown, and with nothing in its way."""
    from icd_assets.cli.checked import require_clear
    from icd_assets.cli.moving_line import MovingLine
    from icd_assets.cli.screen import console, show_costs, show_plan
    from icd_assets.experiment.plan_notes import notes

    with MovingLine("looking at what is there"):  # the weights of a large model take a minute to read
        plan = Plan.of(experiment, to=to, force=force)
    show_plan(plan)
    if costs := _costs(plan):
        show_costs(costs)
    for sentence in notes(plan):
        console.print(f"note: {sentence}")
    with MovingLine("looking for what would stop it"):  # every picture of a large dataset takes minutes to read
        require_clear(plan.as_read_only() if dry_run else plan)
    return plan


def _costs(plan: Plan) -> list[RecipeCost]:
    """Of each recipe, where the VLM is to be asked to train."""
    from icd_assets.experiment.recipe_cost import recipe_costs

    experiment = plan.experiment
    asking = [STEP[name] for name in plan.to_make if name != "evaluation" and STEP[name].asks_vlm(experiment)]
    if not asking or (experiment.dataset.prepare is not None and experiment.read_only):
        return []
    try:
        return recipe_costs(experiment, {"train": len(experiment.data.train), "validation": 0})
    except UserError:  # of a bad file or setting: the checks name it
        return []


def _make(plan: Plan, where: Where) -> None:
    from icd_assets.cli.moving_line import MovingLine
    from icd_assets.cli.screen import console
    from icd_assets.defs.runs.unrecorded import may_be_unrecorded

    run_id = None
    if plan.to_make or may_be_unrecorded(plan):
        with MovingLine("starting Dagster"):
            from icd_assets.cli.follow import launch_elsewhere
            from icd_assets.cli.launch import launch

        run_id = launch(plan) if where == "here" else launch_elsewhere(plan, follow=where == "followed")
    if run_id is not None and where == "elsewhere":
        console.print("it goes on without this command; its page: icd-assets ui, Runs")
    elif run_id is not None:
        console.print(f"\nrun {run_id} ended well")
    else:
        console.print("\nnothing had to be done: every artifact is up to date")
