"""Where every artifact lies: Lever-Plus' own paths (SPEC A.2) under one results root.

Blanks and colons in names are upstream's; they are kept so that an existing results folder is used as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from icd_assets.experiment.catalog_entries import DatasetEntry, ModelEntry
from icd_assets.experiment.cell import Cell


@dataclass(frozen=True)
class CellPaths:
    """The paths of one cell; a look at a hundred cells asks for each some dozen times."""

    root: Path
    cell: Cell
    dataset: DatasetEntry
    model: ModelEntry
    shots: int = 2
    pool_size: int = 64
    beam_size: int = 5
    seed: int = 42
    # Of reward and name, see folder_name. Asked for when a v3 folder is: a reward that does not fit the task stops
    # no other step.
    suffix: Callable[[], str] = lambda: ""
    name: str | None = None  # of the experiment
    own_rl_rows: Callable[[], bool] = lambda: False  # whether RL data are of queries of their own

    @cached_property
    def cache(self) -> Path:
        return self.root / self.cell.dataset / "cache"

    @cached_property
    def generated(self) -> Path:
        return self.root / self.cell.dataset / "generated_data"

    @cached_property
    def anchors(self) -> Path:
        """One file for all samplers, which draw the same anchors from the same seed; 42 is upstream's."""
        drawn = "" if self.seed == 42 else f"-seed:{self.seed}"
        return self.cache / f"{self.cell.dataset}-anchor_sample_num:{self.dataset.sample_num}{drawn}.json"

    @cached_property
    def train_pools(self) -> Path:
        tail = "" if self.cell.sampler == "RandSampler" else "-"
        name = f"{self.cell.dataset}-{self.cell.sampler}-anchor_sample_num: {self.dataset.sample_num}"
        return self.cache / f"{name}:{self.pool_size}{tail}.json"

    @cached_property
    def beam_data(self) -> Path:
        name = (
            f"{self.dataset.task}-{self.cell.dataset}-{self.cell.model}-{self.cell.sampler}-scorer:infoscore-"
            f"construct_order:left-beam_size:{self.beam_size}-max_shot:{self.shots}-"
            f"candidate_num:{self.pool_size}-sample_num:{self.dataset.sample_num}.json"
        )
        return self.generated / name

    @cached_property
    def v2_folder(self) -> Path:
        return self.root / self.cell.dataset / "model_cpk" / "v2"

    @cached_property
    def v2_checkpoint(self) -> Path:
        """``_best.ckpt``: the name that upstream's look-up tries first (SPEC A.3)."""
        name = (
            f"{self.model.safe_name}_{self.cell.sampler}_infoscore_left_beam{self.beam_size}_"
            f"shot{self.shots}_cand{self.pool_size}_sample{self.dataset.sample_num}_best.ckpt"
        )
        return self.v2_folder / name

    @cached_property
    def query_embeddings(self) -> Path:
        return self.cache / "query_embeddings.pt"

    @cached_property
    def candidate_embeddings(self) -> Path:
        return self.cache / "candidate_embeddings.pt"

    @property
    def rl_data(self) -> Path:
        """Of the anchors in upstream's place, of queries of their own beside it."""
        if self.own_rl_rows():
            return self.generated / f"own_rl_data_{self._of_experiment}.json"
        return self.generated / f"rl_data_{self.cell.sampler}_{self.cell.model}.json"

    @cached_property
    def single_labels(self) -> Path:
        return self.generated / f"single_labels_{self.cell.sampler}_{self.cell.model}.json"

    @cached_property
    def step_labels(self) -> Path:
        """Of each experiment its own: its selector proposed the prefixes."""
        return self.generated / f"step_labels_{self._of_experiment}.json"

    @cached_property
    def rl_queries(self) -> Path:
        return self.cache / f"{self.cell.dataset}-{self.cell.sampler}-rl_queries:{self.pool_size}.json"

    def selector(self, asset: str) -> Path:
        """The folder of a trained selector: its config and its weights."""
        return self.v3_folder / asset

    @property
    def _of_experiment(self) -> str:
        named = "" if self.name is None else f"_{self.name}"
        return f"{self.cell.sampler}_{self.cell.model}{named}"

    @cached_property
    def v3_folder(self) -> Path:
        return self.root / self.cell.dataset / "model_cpk" / self._v3

    def epoch_checkpoint(self, phase: str, epoch: int) -> Path:
        """``phase`` is ``rce`` or ``grpo``; ``epoch`` counts from 1 in the name (SPEC K.4)."""
        return self.v3_folder / f"{phase}_epoch{epoch}.pt"

    @cached_property
    def evaluation(self) -> Path:
        return self.root / self.cell.dataset / "icl_inference" / self._v3

    @property
    def _v3(self) -> str:
        return v3_prefix(self.cell) + self.suffix()


def v3_prefix(cell: Cell) -> str:
    """How the names of a cell's v3 folders begin."""
    return f"v3_{cell.sampler}_{cell.model}"
