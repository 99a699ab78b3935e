"""The cell's dataset: its files parse and have the known sizes, and a sample of its images can be decoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from icd_assets.errors import UserError
from icd_assets.experiment.experiment import Experiment
from icd_assets.runtime.finding import Finding
from icd_assets.runtime.seeding import python_rng

if TYPE_CHECKING:
    from icd_assets.datasets.vqa import VqaSplit

SPLITS: tuple[Literal["train", "validation"], ...] = ("train", "validation")
# Questions of the official files (SPEC B.3).
KNOWN_SIZES = {
    "okvqa": {"train": 9009, "validation": 5046},
    "vqav2": {"train": 443_757, "validation": 214_354},
    "aokvqa": {"train": 17_056, "validation": 1_145},
}
_SAMPLE = 64
_NAMED = 3


@dataclass
class Seen:
    """What was found of the data, for the checks that build on it."""

    rows: dict[str, int] = field(default_factory=dict)
    images: list[tuple[int, int]] = field(default_factory=list)  # width, height of those sampled
    questions: list[str] = field(default_factory=list)


def dataset(experiment: Experiment, seen: Seen) -> Iterator[Finding]:
    """Both splits; what was read goes into ``seen``."""
    name, entry = experiment.cell.dataset, experiment.dataset
    if entry.prepare is not None:
        yield Finding("dataset", "ok", f"{name}: its files are written by the first run where they are missing")
    for split in SPLITS:
        try:
            items = experiment.data.train if split == "train" else experiment.data.validation
        except UserError as error:
            if entry.prepare is None:
                yield Finding("dataset", "problem", str(error))
            continue
        seen.rows[split] = len(items)
        known = KNOWN_SIZES.get(name, {}).get(split)
        if known not in (None, len(items)):
            yield Finding(
                "dataset",
                "warning",
                f"{name} {split}: {len(items)} questions; the official files have {known}",
                "check that the files are complete",
            )
        else:
            yield Finding("dataset", "ok", f"{name} {split}: {len(items)} questions")
        yield _images(split, items, experiment.settings.shared.seed, seen)


def _images(split: str, items: VqaSplit, seed: int, seen: Seen) -> Finding:
    """A seeded sample is decoded whole; the steps themselves look at every image that they need."""
    from icd_assets.vlm.images import read_image

    chosen = sorted(python_rng(seed, "doctor", split).sample(range(len(items)), min(_SAMPLE, len(items))))
    bad: list[str] = []
    for row in chosen:
        item = items[row]
        seen.questions.append(item.question)
        try:
            seen.images.append(read_image(item.image).size)
        except UserError as error:
            bad.append(f"question_id {item.question_id}: {error}")
    if bad:
        more = f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
        return Finding(
            "images",
            "problem",
            f"{len(bad)} of {len(chosen)} sampled {split} images are bad: {_listed(bad)}{more}",
        )
    return Finding("images", "ok", f"{len(chosen)} sampled {split} images decode")


def _listed(bad: Sequence[str]) -> str:
    return " ".join(bad[:_NAMED])
