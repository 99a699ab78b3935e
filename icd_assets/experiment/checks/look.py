"""What the checks of one plan share: the plan, its data as far as they can be read, and what was found before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from icd_assets.datasets.images import Size
from icd_assets.datasets.vqa import VqaSplit
from icd_assets.errors import UserError
from icd_assets.experiment.checks.scans import Scans
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.plan import Plan
from icd_assets.experiment.step import Step
from icd_assets.experiment.steps import STEP
from icd_assets.pools.config import SAMPLERS
from icd_assets.runtime.progress import OnProgress, ignore

Split = Literal["train", "validation"]
SPLITS: tuple[Split, ...] = ("train", "validation")


def _nowhere(sentence: str) -> None:
    """Where a check without a reader says what it is at."""


@dataclass
class Look:
    """A look at one plan before its first step. ``thorough``: at what no planned step needs, too."""

    plan: Plan
    thorough: bool = False
    note: Callable[[str], None] = _nowhere
    on_progress: OnProgress = ignore
    unreadable: dict[Split, UserError] = field(default_factory=dict)
    sizes: dict[Split, list[Size]] = field(default_factory=dict)  # of the pictures, as far as they were looked at

    @property
    def experiment(self) -> Experiment:
        return self.plan.experiment

    @cached_property
    def scans(self) -> Scans:
        experiment = self.experiment
        return Scans(experiment.store.caches / "checks.json", read_only=experiment.read_only)

    def makes(self, *steps: str) -> bool:
        """Whether one of ``steps`` is to be made."""
        return any(name in steps for name in self.plan.to_make)

    @property
    def asking(self) -> list[Step]:
        """The steps to be made that ask the VLM."""
        return [STEP[name] for name in self.plan.to_make if STEP[name].asks_vlm(self.experiment)]

    @property
    def asks(self) -> bool:
        return bool(self.asking)

    @property
    def reads_pictures(self) -> bool:
        """Whether a step to be made reads pictures of the train split."""
        return self.asks or self.encodes

    @property
    def encodes(self) -> bool:
        """Whether a step to be made encodes pictures of the train split."""
        features = SAMPLERS[self.experiment.cell.sampler].needs_features and self.makes("candidate_pools")
        return self.makes("v2_checkpoint", "embeddings", "evaluation") or features

    @property
    def wanted_splits(self) -> list[Split]:
        """The splits that the steps to be made read."""
        if self.thorough:
            return list(SPLITS)
        train = self.reads_pictures or self.makes("candidate_pools", "rl_data")
        wanted: dict[Split, bool] = {"train": train, "validation": self.makes("evaluation")}
        return [split for split, needed in wanted.items() if needed]

    @cached_property
    def splits(self) -> dict[Split, VqaSplit]:
        """Those of the wanted splits that can be read."""
        found: dict[Split, VqaSplit] = {}
        for split in self.wanted_splits:
            try:
                data = self.experiment.data
                found[split] = data.train if split == "train" else data.validation
            except UserError as error:
                self.unreadable[split] = error
        return found

    @property
    def rows(self) -> dict[str, int]:
        """Questions per split that could be read."""
        return {split: len(items) for split, items in self.splits.items()}

    @cached_property
    def asked_rows(self) -> list[int]:
        """The validation rows that an evaluation asks. Raises ``UserError`` for a bad subset."""
        from icd_assets.datasets.subset import read_subset

        experiment, validation = self.experiment, self.splits["validation"]
        config = experiment.config("evaluation")
        rows = read_subset(experiment.data.subset_path(), validation) if config.subset else range(len(validation))
        return list(rows[: config.query_count(len(rows))])

    @cached_property
    def anchor_rows(self) -> list[int]:
        """The train rows that training data are made for."""
        from icd_assets.pools.samplers import draw_anchors

        experiment = self.experiment
        train = self.splits["train"]
        return draw_anchors(len(train), experiment.dataset.sample_num, experiment.settings.shared.seed)
