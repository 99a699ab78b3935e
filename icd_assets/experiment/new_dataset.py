"""A dataset's entry of the catalog, made from the files of a folder, and what was found in them."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from icd_assets.datasets.found.folder import Folder, look_into
from icd_assets.datasets.found.images import Images, find_images
from icd_assets.datasets.found.layout import Hints
from icd_assets.datasets.found.splits import Source, find_splits
from icd_assets.errors import UserError
from icd_assets.experiment.catalog_entries import DatasetEntry
from icd_assets.store.digests import DigestCache
from icd_assets.tasks import TASKS

if TYPE_CHECKING:
    from icd_assets.datasets.vqa import VqaSplit

Split = Literal["train", "validation"]
SPLITS: tuple[Split, Split] = ("train", "validation")
ANCHORS = 800  # Lever-Plus' sample_num of a dataset of this size
POOL_SIZE = 64
_NAMED = 3


@dataclass(frozen=True)
class Asked:
    """What the user said: files, columns, where images are; all that is left out is found."""

    hints: Hints = field(default_factory=Hints)
    task: str | None = None
    train: Path | None = None
    validation: Path | None = None
    images: str | None = None
    share: float = 0.8
    encoder: str = "clip-vit-base-patch32"
    sampler_encoder: str = "clip-vit-large-patch14"


@dataclass(frozen=True)
class Found:
    """One split as it was read."""

    file: str
    questions: int
    images: Images
    unanswered: int
    answers: str  # how many a question has, in words
    commonest: tuple[tuple[str, float], ...]  # the answers that are shown most often, and their shares
    image_ids: Any  # [n]


@dataclass(frozen=True)
class NewDataset:
    """``entry`` is what the catalog says of it."""

    name: str
    entry: Mapping[str, Any]
    how: str
    found: Mapping[Split, Found]
    unused: Sequence[str]  # other files that could hold questions

    @property
    def task(self) -> str:
        return str(self.entry.get("task", "vqa"))

    @property
    def pool_size(self) -> int | None:
        """The largest pool that every question can have, if it is smaller than the usual one."""
        train = self.found["train"].image_ids
        ids, counts = np.unique(train, return_counts=True)
        most = int(counts.max())
        both = np.isin(ids, self.found["validation"].image_ids)
        most = max(most, int(counts[both].max(initial=0)))
        left = len(train) - most
        return left if left < POOL_SIZE else None

    def lines(self) -> list[str]:
        """What was found, a line each."""
        said = [f"{self.name}: splits {self.how}"]
        for split, one in self.found.items():
            images = f"{one.images.count} image{'s' if one.images.count != 1 else ''}"
            said.append(f"{split}: {one.questions} questions on {images}, {one.answers} ({one.file})")
            if one.unanswered:
                said.append(f"  left out: {one.unanswered} questions without an answer")
            shown = ", ".join(f"{answer!r} {share:.0%}" for answer, share in one.commonest)
            said.append(f"  most frequent answers: {shown}")
            if missing := one.images.missing:
                more = " …" if len(missing) > _NAMED else ""
                said.append(
                    f"  missing: {len(missing)} of {images}, at which train will stop: "
                    f"{', '.join(missing[:_NAMED])}{more}"
                )
        if self.unused:
            more = f" and {len(self.unused) - _NAMED} more" if len(self.unused) > _NAMED else ""
            said.append(f"not used: {', '.join(self.unused[:_NAMED])}{more}")
        return said


def name_of(folder: Path) -> str:
    """A dataset's name from its folder's: letters, digits, ``_``, ``-`` and ``.``"""
    name = re.sub(r"[^\w.-]+", "_", folder.resolve().name).strip("._-").lower()
    if not name:
        raise UserError(f"{folder} has no name to call a dataset by; give one: --name NAME.")
    return name


def new_dataset(root: Path, name: str, asked: Asked) -> NewDataset:
    """Raises :class:`UserError` for what is broken, and for choices that only the user can make."""
    if "${" in str(root.absolute()):
        raise UserError(f"{root}: the catalog would read ${{ in that path as a variable; rename the folder.")
    folder = look_into(root.absolute())
    if not 0 < asked.share < 1:
        raise UserError(
            f"--share {asked.share:g} is no part of the images; give one between 0 and 1, such as 0.8."
        )
    splits = find_splits(
        folder,
        asked.hints,
        task=asked.task,
        share=asked.share,
        train=asked.train and asked.train.absolute(),
        validation=asked.validation and asked.validation.absolute(),
    )
    entry: dict[str, Any] = {"task": splits.train.task, "alias_prefixes": [name], "sample_num": ANCHORS}
    entry |= {"encoder": asked.encoder, "sampler_encoder": asked.sampler_encoder}
    found: dict[Split, Found] = {}
    for split in SPLITS:
        source = splits.train if split == "train" else splits.validation
        entry[split], found[split] = _read(folder, source, asked.images, name, split)
    entry["sample_num"] = min(ANCHORS, found["train"].questions)
    DatasetEntry.model_validate({"name": name, **entry})
    used = {str(value) for fields in (splits.train.fields, splits.validation.fields) for value in fields.values()}
    unused = [path for path in folder.data if path not in (splits.train.file, splits.validation.file)]
    unused = [path for path in unused if str(path) not in used]
    return NewDataset(name, entry, splits.how, found, [folder.shown(path) for path in unused])


def _read(
    folder: Folder, source: Source, images: str | None, name: str, split: Split
) -> tuple[dict[str, Any], Found]:
    """The split's fields in the catalog, and its rows as the pipeline reads them."""
    fields, unanswered = dict(source.fields), 0
    anywhere = "/{image_id}"
    try:
        items = _rows(source.task, {**fields, "images": anywhere}, name, split)
    except UserError as error:
        if source.layout != "table" or "have no answer" not in str(error):
            raise
        whole = fields["table"]
        fields["table"] = {**whole, "unanswered": "leave_out"}
        unanswered = int(str(error).split(f"{source.file}: ")[1].split(" of ")[0])
        items = _rows(source.task, {**fields, "images": anywhere}, name, split)
    where = find_images(folder, items.image_names, source.file, images)
    fields["images"] = where.pattern
    checked = items.at(where.pattern, str(source.file))  # refuses images outside the pattern's folder
    counts = [len(answers) for answers in checked.answers]
    commonest = Counter(checked.shown_answers).most_common(_NAMED)
    low, high = min(counts), max(counts)
    shown = f"{low}" if low == high else f"{low} to {high}"
    return fields, Found(
        file=folder.shown(source.file),
        questions=len(checked),
        images=where,
        unanswered=unanswered,
        answers=f"{shown} answer{'' if shown == '1' else 's'} each",
        commonest=tuple((answer, count / len(checked)) for answer, count in commonest),
        image_ids=checked.image_ids,
    )


def _rows(task: str, fields: Mapping[str, Any], name: str, split: Split) -> VqaSplit:
    with tempfile.TemporaryDirectory() as place:
        cache = Path(place)
        files = TASKS[task].files.model_validate(fields)
        return files.read(name, split, answer="official", digests=DigestCache(cache / "digests"), folder=cache)
