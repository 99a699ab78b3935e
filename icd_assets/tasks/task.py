"""What a task is: all that differs between answering questions, captioning images and choosing among options."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from icd_assets.errors import UserError
from icd_assets.scoring.rewards import Label, RewardConfig, RewardMode, RewardSettings

if TYPE_CHECKING:
    from icd_assets.datasets.official import Answer
    from icd_assets.datasets.vqa import VqaItem, VqaSplit
    from icd_assets.evaluation.strategies import SimilarityOf
    from icd_assets.scoring.metric import Metric
    from icd_assets.store.digests import DigestCache


class SplitFiles(BaseModel, ABC):
    """Where one split lies: what ``train`` and ``validation`` of a dataset hold in the catalog.

    A task's own form adds the fields that name its files. Every text field may hold ``${NAME:-default}``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: str  # the path of an image, with {image_id}
    variables: list[str] = []  # the environment variables that the other paths were made of

    @abstractmethod
    def locate(self, what: str) -> list[Path]:
        """The files whose bytes decide the split's rows, in reading order; no file is opened.

        Raises :class:`UserError` if they are not there; ``what`` is the split in words.
        """

    @abstractmethod
    def parts(self) -> list[Any]:
        """What is taken of the files where they may hold more: it belongs to the split's digest."""

    @abstractmethod
    def read(self, dataset: str, split: str, *, answer: Answer, digests: DigestCache, folder: Path) -> VqaSplit:
        """The rows. ``folder`` is a cache of parsed splits, ``answer`` says which of several a row shows.

        Raises :class:`UserError` for anything that is not a complete split.
        """

    def subset_file(self) -> str | None:
        """A file that lists some of the split's questions; None if none is named."""
        return None

    @property
    def moved_by(self) -> str:
        """What a user does about a missing file."""
        return f"set {' or '.join(self.variables)}" if self.variables else "fix the catalog"

    def existing(self, path: str, what: str) -> Path:
        """``path`` if it is a file."""
        if not Path(path).is_file():
            raise UserError(f"{what} was not found as {path}; put the file there, or {self.moved_by}.")
        return Path(path)


@dataclass(frozen=True, kw_only=True)
class CandidateText:
    """The text that a candidate is compared by where that is not its question."""

    name: str  # in the names of cached features
    of: Callable[[VqaItem], str]


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task. Every part is required, so that one cannot be forgotten: see ``docs/adding/task.md``."""

    name: str  # as the command line, the catalog and beam data's file names spell it

    # ---- files
    files: type[SplitFiles]
    files_named: str  # what each split names, in words

    # ---- the model
    prompt: Mapping[str, Any]  # fields of PromptStyle over the model's own
    generation: Mapping[str, Any]  # fields of Generation over the model's own

    # ---- judging answers
    metric_name: str  # as tables print it
    best_score: float  # the most that the metric gives one answer
    metric: Callable[[Iterable[VqaItem]], Metric]  # of a corpus: the items that may weigh words
    require_tools: Callable[[], None]  # raises UserError if answers cannot be judged on this machine
    rl_config: Mapping[str, Any]  # what of the metric decides RL data's bytes, for their manifest

    # ---- rewards
    labels: frozenset[Label]  # what ``metric.labels`` gives, and ``vqa_gt_prob`` if golds have likelihoods
    default_reward: RewardMode

    # ---- similarity
    similarities: tuple[SimilarityOf, ...]  # what a query can be compared by; the last is followed over all shots
    candidate_text: CandidateText | None

    def reward(self, settings: RewardSettings) -> RewardConfig:
        """The reward in force; a mode that reads labels of other tasks is refused."""
        return settings.decided(self.name, self.labels, self.default_reward)

    def require_gt_prob(self) -> None:
        """Raises :class:`UserError` if gold answers have no likelihood to measure."""
        if "vqa_gt_prob" not in self.labels:
            raise UserError(f"rl_data.gt_prob measures gold answers, and the task {self.name} has none; unset it.")
