"""Caption files as rows: a row is an image's index in its split sorted by ``image_id`` (SPEC B.3).

A row is a :class:`VqaItem` whose question is empty and whose ``question_id`` is the image's: the first caption is
its ``answer``, all captions are its ``answers``. Two layouts are read:

- COCO's ``captions_*.json`` of one split: ``{"images": [{"id"}], "annotations": [{"image_id", "caption"}]}``
- Karpathy's ``dataset_coco.json`` of all splits: ``{"images": [{"cocoid", "split", "sentences": [{"raw"}]}]}``;
  rows as ``yerevann/coco-karpathy`` has them, with sentences as plain texts, may stand in ``images`` too, or be
  the file's whole list.

Deviations from upstream:
1. An image without captions, or a caption without its image, is an error, not a hole.
2. White space in a caption is one blank each, at its ends none; a blank caption is none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icd_assets.datasets.columns import table_of
from icd_assets.datasets.json_file import read_json
from icd_assets.datasets.vqa import VqaSplit, check_pattern
from icd_assets.errors import UserError
from icd_assets.runtime.foreign import brief
from icd_assets.tasks.task import SplitFiles

if TYPE_CHECKING:
    from icd_assets.datasets.official import Answer, Record
    from icd_assets.store.digests import DigestCache

_KARPATHY_SPLITS = ("train", "restval", "val", "validation", "test")

_Captions = dict[int, list[str]]  # by image_id


class CaptionFiles(SplitFiles):
    """The captions of one split, and where image ``image_id`` lies.

    ``captions`` is COCO's annotation file of the split, or Karpathy's file of all splits, of which ``split`` is
    taken.
    """

    captions: str
    split: str | None = None

    def locate(self, what: str) -> list[Path]:
        return [self.existing(self.captions, what)]

    def parts(self) -> list[str | None]:
        return [self.split]

    def read(self, dataset: str, split: str, *, answer: Answer, digests: DigestCache, folder: Path) -> VqaSplit:
        return read_captions(dataset, split, Path(self.captions), self.images, self.split)


def read_captions(dataset: str, split: str, path: Path, images: str, part: str | None = None) -> VqaSplit:
    """The images of one split with their captions.

    ``part``: which of a Karpathy file's splits; None for COCO's files, which hold one. The digest is the
    SHA-256 of the file's bytes and of ``part``. Raises :class:`UserError` for anything that is not a complete
    caption file.
    """
    check_pattern(images)
    digest = hashlib.sha256()
    content = read_json(path, on_bytes=digest.update, compact=_compact)
    if part is None:
        found = _coco(path, content)
    else:
        digest.update(part.encode())
        found = _karpathy(path, content, part)
    records: list[Record] = [
        (image_id, image_id, "", captions[0], tuple(captions), "", "caption")
        for image_id, captions in sorted(found.items())
    ]
    try:
        table = table_of(records)
    except UnicodeEncodeError as error:
        raise UserError(
            f"{path}: the caption {error.object[:40]!r} holds half a character (a lone surrogate); fix it."
        ) from None
    return VqaSplit(dataset, split, digest.hexdigest(), images, table)


def _compact(record: dict[str, Any]) -> Any:
    """A Karpathy sentence becomes its text at once: its tokens would cost a gigabyte."""
    return record["raw"] if "raw" in record and "cocoid" not in record else record


def _coco(path: Path, content: Any) -> _Captions:
    found: _Captions = {_id(image, "id", at): [] for at, image in _records(path, content, "images")}
    for at, annotation in _records(path, content, "annotations"):
        image_id = _id(annotation, "image_id", at)
        if image_id not in found:
            raise UserError(f"{at}: image {image_id} is not among the file's images; fetch the file again.")
        found[image_id] += _texts([annotation.get("caption")], at)
    for image_id, captions in found.items():
        _require_captions(captions, image_id, path)
    return found


def _karpathy(path: Path, content: Any, part: str) -> _Captions:
    found: _Captions = {}
    rows = {"images": content} if isinstance(content, list) else content
    for at, image in _records(path, rows, "images"):
        if image.get("split") not in _KARPATHY_SPLITS:
            raise UserError(
                f"{at}: 'split' is {brief(image.get('split'))}, not one of {', '.join(_KARPATHY_SPLITS)}; "
                "give Karpathy's dataset_coco.json."
            )
        if image["split"] != part:
            continue
        image_id = _id(image, "cocoid", at)
        if image_id in found:
            raise UserError(f"{at}: cocoid {image_id} occurs twice; each image needs one record.")
        sentences = image.get("sentences")
        found[image_id] = _texts(sentences if isinstance(sentences, list) else [], at)
        _require_captions(found[image_id], image_id, path)
    if not found:
        raise UserError(
            f"{path} has no images of the split {brief(part)}; fix the dataset's split in the catalog."
        )
    return found


def _records(path: Path, content: Any, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, record) of each element of the top-level list ``key``; places are for error messages."""
    if not isinstance(content, dict) or not isinstance(content.get(key), list) or not content[key]:
        raise UserError(f"{path} has no list {key!r} at its top level; give the caption file itself.")
    for index, record in enumerate(content[key]):
        if not isinstance(record, dict):
            raise UserError(f"{path}: {key}[{index}] is not a record; give the caption file itself.")
        yield f"{path}: {key}[{index}]", record


def _id(record: dict[str, Any], key: str, at: str) -> int:
    value = record.get(key)
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise UserError(f"{at}: {key!r} is {brief(value)}, not an image's number; give the caption file itself.")
    return value


def _texts(captions: Iterable[Any], at: str) -> list[str]:
    texts = []
    for caption in captions:
        if not isinstance(caption, str):
            raise UserError(f"{at}: a caption is {brief(caption, 40)}, not a text; fix the record.")
        texts.append(" ".join(caption.split()))
    return [text for text in texts if text]


def _require_captions(captions: list[str], image_id: int, path: Path) -> None:
    if not captions:
        raise UserError(f"{path}: image {image_id} has no captions; each image needs at least one.")
