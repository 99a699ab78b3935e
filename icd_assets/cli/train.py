"""The commands: ``train`` (the six arguments of train_v3.sh), ``demo``, ``evaluation``, ``ui``."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from icd_assets.cli.options import setting_options
from icd_assets.errors import UserError
from icd_assets.experiment.catalog import Catalog
from icd_assets.experiment.experiment import Experiment, results_root
from icd_assets.experiment.settings import Settings, read_settings
from icd_assets.experiment.steps import STEP
from icd_assets.runtime.device import visible_gpus
from icd_assets.runtime.locks import Holder

SELECTOR_INPUT = "query_img_text_icd_img_text"
_DEMO = ("vqa", "demo", "0", SELECTOR_INPUT, "rand_sampler", "tiny_vl")


@click.command()
@click.argument("task", default="vqa")
@click.argument("dataset", default="okvqa_local")
@click.argument("gpu_id", default="0")
@click.argument("lever_lm", default=SELECTOR_INPUT)
@click.argument("sampler", default="rand_sampler")
@click.argument("model", default="qwen2.5_vl_3B")
@setting_options
@click.option("--dry-run", is_flag=True, help="Print what would be made and why, and stop.")
@click.option("--to", metavar="ASSET", help="Stop after this asset, e.g. --to rl_data.")
@click.option("--force", multiple=True, metavar="ASSET", help="Make this asset again in any case.")
def train(**arguments: Any) -> None:
    """Make everything one cell needs, and only that: from candidate pools to the evaluation table.

    The six arguments are those of train_v3.sh, with its aliases and its defaults.
    """
    run_train(**arguments)


@click.command()
def demo() -> None:
    """The whole pipeline on the built-in world: a tiny dataset, a tiny vision-language model."""
    settings = read_settings(environment={"GRPO_EPOCHS": "3", **os.environ})
    run_cell(_DEMO, settings)


@click.command()
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


@click.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.pass_context
def ui(context: click.Context) -> None:
    """Open Dagster's UI on the project; further options go to `dagster dev`, e.g. --port 3001."""
    from icd_assets.defs.runs.instance import open_instance

    with open_instance():
        pass  # makes the instance's tables before two processes try to
    where = ["-w", "workspace.yaml"] if Path("workspace.yaml").is_file() else ["-m", "icd_assets.definitions"]
    program = str(Path(sys.executable).with_name("dagster"))
    os.execv(program, [program, "dev", *where, *context.args])


def run_train(
    task: str,
    dataset: str,
    gpu_id: str,
    lever_lm: str,
    sampler: str,
    model: str,
    settings: Settings,
    dry_run: bool,
    to: str | None,
    force: tuple[str, ...],
) -> None:
    if unknown := [name for name in (*force, to or "rl_data") if name not in STEP]:
        raise UserError(f"there is no asset {unknown[0]!r}; valid: {', '.join(STEP)}.")
    names = (task, dataset, gpu_id, lever_lm, sampler, model)
    run_cell(names, settings, dry_run=dry_run, to=to, force=frozenset(force))


def run_cell(
    names: tuple[str, str, str, str, str, str],
    settings: Settings,
    *,
    dry_run: bool = False,
    to: str | None = None,
    force: frozenset[str] = frozenset(),
) -> None:
    """Plan one cell, make what is missing or changed, and print the summary."""
    from icd_assets.cli.screen import console
    from icd_assets.cli.summary import show_configuration

    experiment = open_cell(names, settings)
    show_configuration(experiment, names)

    def note(sentence: str) -> None:
        console.print(sentence, markup=False)

    holder = Holder("another command")
    turn = nullcontext() if dry_run else experiment.store.turn(experiment.cell.key, holder, note)
    try:
        with turn:
            _make(experiment, dry_run, to, force)
    except KeyboardInterrupt:
        click.echo(
            "icd-assets: interrupted; what is complete is kept, and the same command goes on from there", err=True
        )
        sys.exit(130)


def _make(experiment: Experiment, dry_run: bool, to: str | None, force: frozenset[str]) -> None:
    from icd_assets.cli.screen import console, show_plan
    from icd_assets.cli.summary import show_summary
    from icd_assets.defs.runs.unrecorded import may_be_unrecorded
    from icd_assets.experiment.plan import plan, require_metric, require_subset, require_vlm

    planned = plan(experiment, force, to)
    show_plan(planned)
    require_vlm(experiment, planned)
    require_metric(experiment, planned)
    require_subset(experiment, planned)
    if dry_run:
        return
    run_id = None
    if any(item.reason is not None for item in planned) or may_be_unrecorded(experiment, planned):
        from icd_assets.cli.launch import RunFailed, launch

        try:
            run_id = launch(experiment, planned, force)
        except RunFailed as error:
            click.echo(f"icd-assets: {error}", err=True)
            sys.exit(error.exit_code)
    if run_id is not None:
        console.print(f"\nrun {run_id} ended well", markup=False)
    else:
        console.print("\nnothing had to be done: every artifact is up to date", markup=False)
    if to in (None, "evaluation"):
        show_summary(experiment)


def open_cell(names: tuple[str | None, str, str, str, str, str], settings: Settings) -> Experiment:
    """The cell that train's six arguments mean, at home and with the GPU chosen; task None is the dataset's."""
    from icd_assets.defs.runs.instance import enter_home

    task, dataset, gpu_id, lever_lm, sampler, model = names
    if lever_lm != SELECTOR_INPUT:
        raise UserError(f"selector input {lever_lm!r} is not supported; the one input is {SELECTOR_INPUT}.")
    _choose_gpu(gpu_id)
    enter_home()
    catalog = Catalog.load()
    cell = catalog.cell(dataset, sampler, model)
    if task not in (None, of_dataset := catalog.datasets[cell.dataset].task):
        raise UserError(
            f"task {task!r} is not that of {cell.dataset}; write: icd-assets train {of_dataset} {dataset}."
        )
    return Experiment.open(cell, _with_subset(_with_source(settings), dataset), results_root(), catalog)


def _with_source(settings: Settings) -> Settings:
    """The command line says which phase becomes the v2-format file, as TRAIN_V3 promises: the last one run."""
    explicit = dict(settings.explicit)
    phase = "grpo" if explicit.get("grpo_checkpoints", {}).get("grpo_epochs", 0) else "rce"
    explicit["v2format_checkpoint"] = {"source": phase, **explicit.get("v2format_checkpoint", {})}
    return settings.model_copy(update={"explicit": explicit})


def _with_subset(settings: Settings, dataset: str) -> Settings:
    """``vqav2_local_sub`` is vqav2, evaluated on the subset of its validation questions (SPEC B.2)."""
    if not dataset.endswith("_local_sub"):
        return settings
    evaluation = {"subset": True, **settings.explicit.get("evaluation", {})}
    return settings.model_copy(update={"explicit": {**settings.explicit, "evaluation": evaluation}})


def _choose_gpu(gpu_id: str) -> None:
    """The third argument of train_v3.sh: which GPU, as nvidia-smi numbers them. Without a GPU it is ignored."""
    if not gpu_id.isdecimal():
        raise UserError(f"gpu_id {gpu_id!r} is not a number; give the GPU's index, e.g. 0.")
    gpus = visible_gpus()
    if gpus and "CUDA_VISIBLE_DEVICES" not in os.environ:
        if gpu_id not in gpus:
            raise UserError(f"gpu_id {gpu_id} does not exist; this machine has {', '.join(gpus)}.")
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu_id
