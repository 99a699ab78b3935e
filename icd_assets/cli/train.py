"""``icd-assets train`` (the six arguments of train_v3.sh) and ``demo``: make what one cell needs."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager, nullcontext

import click

from icd_assets.cli.cell_arguments import SELECTOR_INPUT, CellArguments
from icd_assets.cli.help import Command
from icd_assets.cli.json_output import json_option, print_json
from icd_assets.cli.options import note_misspelt, setting_options
from icd_assets.cli.plan_document import PLAN_SCHEMA, plan_document
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.plan import Plan, require_assets
from icd_assets.experiment.settings import Settings, read_settings
from icd_assets.runtime.locks import Holder

_DEMO = CellArguments("vqa", "demo", "0", SELECTOR_INPUT, "rand_sampler", "tiny_vl")


@click.command(
    cls=Command,
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
@json_option
@click.option("--to", metavar="ASSET", help="Stop after this asset, e.g. --to rl_data.")
@click.option("--force", multiple=True, metavar="ASSET", help="Make this asset again in any case.")
def train(
    settings: Settings, dry_run: bool, as_json: bool, to: str | None, force: tuple[str, ...], **arguments: str
) -> None:
    """Make everything one cell needs, and only that: from candidate pools to the evaluation table.

    The six arguments are those of train_v3.sh, with its aliases and its defaults.
    """
    if as_json and not dry_run:
        raise click.UsageError("--json shows a plan: give --dry-run too.")
    run_cell(CellArguments(**arguments), settings, dry_run=dry_run, as_json=as_json, to=to, force=force)


@click.command(
    cls=Command,
    short_help="The whole pipeline on the built-in world.",
    examples=("icd-assets demo",),
)
def demo() -> None:
    """The whole pipeline on the built-in world: a tiny dataset, a tiny vision-language model."""
    note_misspelt()
    run_cell(_DEMO, read_settings(environment={"GRPO_EPOCHS": "3", **os.environ}))


def run_cell(
    arguments: CellArguments,
    settings: Settings,
    *,
    dry_run: bool = False,
    as_json: bool = False,
    to: str | None = None,
    force: tuple[str, ...] = (),
) -> None:
    """Plan one cell, make what is missing or changed, and print the summary."""
    from icd_assets.cli.summary import show_configuration, show_summary

    require_assets(to, force)  # before another command of the cell is waited for
    experiment = arguments.open(settings)
    if as_json:
        plan = Plan.of(experiment, to=to, force=force)
        print_json(PLAN_SCHEMA, plan_document(plan))
        plan.require_possible()
        return
    show_configuration(experiment, arguments)
    try:
        with nullcontext() if dry_run else _turn(experiment):
            plan = _planned(experiment, to, force)
            if not dry_run:
                _make(plan)
                if plan.evaluates:
                    show_summary(experiment)
    except KeyboardInterrupt:
        click.echo(
            "icd-assets: interrupted; what is complete is kept, and the same command goes on from there", err=True
        )
        sys.exit(130)


def _turn(experiment: Experiment) -> AbstractContextManager[None]:
    """One command per cell; who waits sees for whom."""
    from icd_assets.cli.screen import console

    def note(sentence: str) -> None:
        console.print(sentence, markup=False)

    return experiment.store.turn(experiment.cell.key, Holder("another command"), note)


def _planned(experiment: Experiment, to: str | None, force: tuple[str, ...]) -> Plan:
    """The plan, shown, and possible."""
    from icd_assets.cli.screen import show_plan

    plan = Plan.of(experiment, to=to, force=force)
    show_plan(plan)
    plan.require_possible()
    return plan


def _make(plan: Plan) -> None:
    from icd_assets.cli.screen import console
    from icd_assets.defs.runs.unrecorded import may_be_unrecorded

    run_id = None
    if plan.to_make or may_be_unrecorded(plan):
        from icd_assets.cli.launch import RunFailed, launch

        try:
            run_id = launch(plan)
        except RunFailed as error:
            click.echo(f"icd-assets: {error}", err=True)
            sys.exit(error.exit_code)
    if run_id is not None:
        console.print(f"\nrun {run_id} ended well", markup=False)
    else:
        console.print("\nnothing had to be done: every artifact is up to date", markup=False)
