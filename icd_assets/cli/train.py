"""``icd-assets train`` (the six arguments of train_v3.sh) and ``demo``: make what one cell needs."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import click

from icd_assets.cli.cell_arguments import SELECTOR_INPUT, CellArguments, GpuCommand
from icd_assets.cli.help import Command
from icd_assets.cli.options import note_misspelt, setting_options
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.plan import Plan, require_assets
from icd_assets.experiment.settings import Settings, read_settings
from icd_assets.runtime.home import find_home
from icd_assets.runtime.locks import Holder

_DEMO = CellArguments("vqa", "demo", "0", SELECTOR_INPUT, "rand_sampler", "tiny_vl")


@click.command(
    cls=GpuCommand,
    short_help="Make everything that one cell needs and lacks.",
    examples=(
        "icd-assets train                      # the cell of train_v3.sh's defaults",
        "icd-assets train vqa demo 0 query_img_text_icd_img_text rand_sampler tiny_vl",
        "icd-assets train vqa okvqa_local --rce-epochs 3 --dry-run",
        "icd-assets train vqa okvqa_local --to rl_data --set rl_data.num_beams=8",
    ),
)
@click.argument("task", default="vqa")
@click.argument("dataset", default="okvqa_local")
@click.argument("gpu_id", default="0")
@click.argument("lever_lm", default=SELECTOR_INPUT)
@click.argument("sampler", default="rand_sampler")
@click.argument("model", default="qwen2.5_vl_3B")
@setting_options(listed=True)
@click.option("--dry-run", is_flag=True, help="Print what would be made and why, and stop.")
@click.option("--to", metavar="ASSET", help="Stop after this asset, e.g. --to rl_data.")
@click.option("--force", multiple=True, metavar="ASSET", help="Make this asset again in any case.")
def train(settings: Settings, dry_run: bool, to: str | None, force: tuple[str, ...], **arguments: str) -> None:
    """Make everything one cell needs, and only that: from candidate pools to the evaluation table.

    The six arguments are those of train_v3.sh, with its aliases and its defaults.
    """
    run_cell(CellArguments(**arguments), settings, dry_run=dry_run, to=to, force=force)


@click.command(
    cls=Command,
    short_help="The whole pipeline on the built-in world.",
    examples=("icd-assets demo",),
)
def demo() -> None:
    """The whole pipeline on the built-in world: a tiny dataset, a tiny vision-language model.

    Where no home is, this folder becomes one, as by `icd-assets init`.
    """
    if find_home() is None:
        from icd_assets.cli.init import show_written
        from icd_assets.runtime.new_home import write_home

        show_written(here := Path.cwd(), write_home(here))
    note_misspelt()
    run_cell(_DEMO, read_settings(environment={"GRPO_EPOCHS": "3", **os.environ}))


def run_cell(
    arguments: CellArguments,
    settings: Settings,
    *,
    dry_run: bool = False,
    to: str | None = None,
    force: tuple[str, ...] = (),
) -> None:
    """Plan one cell, make what is missing or changed, and print the summary."""
    from icd_assets.cli.summary import show_configuration, show_summary

    require_assets(to, force)  # before another command of the cell is waited for
    experiment = arguments.open(settings)
    show_configuration(experiment, arguments, force)
    with nullcontext() if dry_run else _turn(experiment):
        plan = _planned(experiment, to, force, dry_run=dry_run)
        if not dry_run:
            _make(plan)
            if plan.evaluates:
                show_summary(experiment)


def _turn(experiment: Experiment) -> AbstractContextManager[None]:
    """One command per cell; who waits sees for whom."""
    from icd_assets.cli.screen import console

    def note(sentence: str) -> None:
        console.print(sentence, markup=False)

    return experiment.store.turn(experiment.cell.key, Holder("another command"), note)


def _planned(experiment: Experiment, to: str | None, force: tuple[str, ...], *, dry_run: bool) -> Plan:
    """The plan, shown, and with nothing in its way."""
    from icd_assets.cli.checked import require_clear
    from icd_assets.cli.screen import console, show_plan
    from icd_assets.experiment.plan_notes import notes

    plan = Plan.of(experiment, to=to, force=force)
    show_plan(plan)
    for sentence in notes(plan):
        console.print(f"note: {sentence}", markup=False)
    require_clear(plan.as_read_only() if dry_run else plan)
    return plan


def _make(plan: Plan) -> None:
    from icd_assets.cli.screen import console
    from icd_assets.defs.runs.unrecorded import may_be_unrecorded

    run_id = None
    if plan.to_make or may_be_unrecorded(plan):
        from icd_assets.cli.launch import launch

        run_id = launch(plan)
    if run_id is not None:
        console.print(f"\nrun {run_id} ended well", markup=False)
    else:
        console.print("\nnothing had to be done: every artifact is up to date", markup=False)
