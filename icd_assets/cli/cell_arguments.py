"""The six arguments of train_v3.sh, and the cell that they mean."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

import click

from icd_assets.cli.cells import FORMS, split_key
from icd_assets.cli.help import Command
from icd_assets.errors import UserError
from icd_assets.experiment.catalog import Catalog
from icd_assets.experiment.experiment import Experiment, results_root
from icd_assets.experiment.open_cell import as_typed
from icd_assets.experiment.settings import Settings
from icd_assets.runtime.device import visible_gpus
from icd_assets.tasks import TASKS

SELECTOR_INPUT = "query_img_text_icd_img_text"
# Of train_v3.sh: task, dataset, GPU, selector input, sampler, model.
DEFAULTS = ("vqa", "okvqa_local", "0", SELECTOR_INPUT, "rand_sampler", "qwen2.5_vl_3B")


@dataclass(frozen=True)
class CellArguments:
    """As the user typed them; ``task`` None is the dataset's."""

    task: str | None
    dataset: str
    gpu_id: str
    lever_lm: str
    sampler: str
    model: str

    @classmethod
    def of(cls, words: Sequence[str]) -> CellArguments:
        """The words of the command line: the six of train_v3.sh or fewer, the rest by its defaults; a cell's key;
        or dataset, sampler and model."""
        if words and ("|" in words[0] or (len(words) == 3 and words[0] not in TASKS)):
            if len(words) not in (1, 3):
                raise UserError(f"{' '.join(words)!r} is not one cell; {FORMS}.")
            dataset, sampler, model = split_key(words[0]) if len(words) == 1 else words
            return cls(None, dataset, "0", SELECTOR_INPUT, sampler, model)
        if len(words) > len(DEFAULTS):
            raise UserError(f"{' '.join(words)!r} are more than train's six arguments; {FORMS}.")
        return cls(*words, *DEFAULTS[len(words) :])

    def open(self, settings: Settings, *, read_only: bool = False) -> Experiment:
        """The cell with the settings of the command line, at home and with the GPU chosen."""
        from icd_assets.defs.runs.instance import enter_home

        if self.lever_lm != SELECTOR_INPUT:
            raise UserError(
                f"selector input {self.lever_lm!r} is not supported; the one input is {SELECTOR_INPUT}."
            )
        _choose_gpu(self.gpu_id)
        enter_home()
        catalog = Catalog.load()
        cell = catalog.cell(self.dataset, self.sampler, self.model)
        if self.task not in (None, of_dataset := catalog.datasets[cell.dataset].task):
            raise UserError(
                f"task {self.task!r} is not that of {cell.dataset}; "
                f"write: icd-assets train {of_dataset} {self.dataset}."
            )
        experiment = Experiment.open(cell, as_typed(settings, self.dataset), results_root(), catalog)
        return experiment.as_read_only() if read_only else experiment


def no_gpu(gpu_id: str) -> UserError:
    return UserError(
        f"gpu_id {gpu_id!r} is not the number of one GPU; give its index as nvidia-smi lists it, e.g. 0 (without "
        "a GPU it is ignored)."
    )


class GpuCommand(Command):
    """A command whose third argument is a GPU: ``-1`` is that argument, although it looks like an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if re.fullmatch(r"-[0-9].*", error.option_name) is None:
                raise
            raise no_gpu(next(word for word in given if word.startswith(error.option_name))) from None


def _choose_gpu(gpu_id: str) -> None:
    """The third argument of train_v3.sh: which GPU, as nvidia-smi numbers them. Without a GPU it is ignored."""
    if re.fullmatch(r"[0-9]{1,4}", gpu_id) is None:
        raise no_gpu(gpu_id)
    gpus = visible_gpus()
    if gpus and "CUDA_VISIBLE_DEVICES" not in os.environ:
        if gpu_id not in gpus:
            raise UserError(f"gpu_id {gpu_id} does not exist; this machine has {', '.join(gpus)}.")
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu_id
