"""A VQA split as rows: a row is a question's index in its split sorted by ``question_id`` (SPEC B.3).

Deviations from upstream:
1. A split's official ``multiple_choice_answer`` is kept. Upstream overwrites it by the most frequent raw answer
   when both splits are loaded together, so that the same row had two answers; ``answer="most_frequent"`` does
   so always (SPEC B.3).
2. A question without annotation, or an annotation without question, is an error, not a hole.
3. The parsed split is kept by content (:mod:`icd_assets.datasets.columns`), so VQAv2's 444k questions are parsed
   once.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from icd_assets.datasets.columns import SCHEMA_VERSION, read_table, table_of, write_table
from icd_assets.datasets.held_texts import Held, rows_holding
from icd_assets.datasets.ids import Id, check_image_names
from icd_assets.datasets.official import Answer, Record, read_records
from icd_assets.datasets.text_file import require_content
from icd_assets.errors import UserError
from icd_assets.runtime.foreign import brief
from icd_assets.store.digests import DigestCache, sha256_json

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

_log = logging.getLogger(__name__)

_KEPT = 1 << 15  # items that were asked for; about 20 MiB

# Reads a split's records, and hands out the bytes of each file that it read.
Parse = Callable[[Callable[[bytes], object]], list[Record]]


@dataclass(frozen=True, slots=True)
class VqaItem:
    """One question about one image; a demonstration shows ``answer``, the annotators gave ``answers``."""

    row: int
    question_id: Id
    image_id: int  # where the dataset names its images by texts, the number that stands for one
    question: str
    answer: str
    answers: tuple[str, ...]
    question_type: str
    answer_type: str
    image: Path


class VqaSplit(Sequence[VqaItem]):
    """The items of one split in row order, built when asked for: 444k of them would fill the memory.

    What looks at every row takes a column instead: :attr:`image_ids`, :attr:`questions`, :attr:`images`.
    """

    def __init__(
        self,
        dataset: str,
        split: str,
        digest: str,
        images: str,
        table: pa.Table,
        left_out: frozenset[Id] = frozenset(),
    ) -> None:
        self.dataset = dataset
        self.split = split
        self.digest = digest
        self.left_out = left_out  # the ids of the files' questions that are no rows
        self._images = images
        self._table = table
        self._columns: list[Any] = table.columns
        self._kept: dict[int, VqaItem] = {}  # a pool's rows are asked for in hundreds of prompts each

    def __len__(self) -> int:
        return int(self._table.num_rows)

    @overload
    def __getitem__(self, index: int) -> VqaItem: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[VqaItem, ...]: ...
    def __getitem__(self, index: int | slice) -> VqaItem | tuple[VqaItem, ...]:
        if isinstance(index, slice):
            return tuple(self._item(row) for row in range(*index.indices(len(self))))
        row = range(len(self))[index]
        if (item := self._kept.get(row)) is None:
            if len(self._kept) >= _KEPT:
                self._kept.clear()
            item = self._kept[row] = self._item(row)
        return item

    def __iter__(self) -> Iterator[VqaItem]:
        row = 0
        for batch in self._table.to_batches(max_chunksize=4096):
            for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                yield self._made(row, values)
                row += 1

    def _item(self, row: int) -> VqaItem:
        return self._made(row, [column[row].as_py() for column in self._columns])

    def _made(self, row: int, values: Sequence[Any]) -> VqaItem:
        question_id, image_id, question, answer, answers, question_type, answer_type, *name = values
        image = self._image(name[0] if name else image_id)
        return VqaItem(
            row, question_id, image_id, question, answer, tuple(answers), question_type, answer_type, image
        )

    def _image(self, image_id: Id) -> Path:
        if isinstance(image_id, str) and image_id.startswith("/"):
            return Path(image_id)
        return Path(self._images.format(image_id=image_id))

    def at(self, images: str, where: str) -> VqaSplit:
        """The same rows, their images at another pattern; as :func:`split_of`."""
        return split_of(self.dataset, self.split, self.digest, images, self._table, where)

    @property
    def images_folder(self) -> Path:
        """The folder below which the images pattern puts every image."""
        return Path(os.path.dirname(self._images.split("{", 1)[0]))  # noqa: PTH120 - "a/b_" is in a, "a/b/" in a/b

    @property
    def answers(self) -> list[list[str]]:
        """Every row's answers."""
        texts: list[list[str]] = self._table["answers"].to_pylist()
        return texts

    @property
    def shown_answers(self) -> list[str]:
        """What a demonstration shows of every row."""
        texts: list[str] = self._table["answer"].to_pylist()
        return texts

    def holding(self, texts: Collection[str]) -> list[Held]:
        """Each row in whose question or answers one of ``texts`` stands."""
        return rows_holding(self._table, texts)

    def without(self, texts: Collection[str]) -> VqaSplit:
        """The split less the rows that hold one of ``texts``; the others move up. Without ``texts``, itself."""
        if not texts:
            return self
        held = {found.row: self._table["question_id"][found.row].as_py() for found in self.holding(texts)}
        if len(held) == len(self):
            raise UserError(
                f"every question of the {self.split} split of {self.dataset} holds one of "
                f"{', '.join(sorted(texts))}, so none is left; leave out other texts."
            )
        kept = self._table.filter([row not in held for row in range(len(self))]) if held else self._table
        digest = sha256_json([self.digest, sorted(texts)])
        return VqaSplit(self.dataset, self.split, digest, self._images, kept, self.left_out.union(held.values()))

    @cached_property
    def image_ids(self) -> NDArray[np.int64]:
        """[n] in row order."""
        ids: NDArray[np.int64] = self._table["image_id"].to_numpy()
        return ids

    @cached_property
    def question_ids(self) -> NDArray[np.int64] | NDArray[np.object_]:
        """[n] in row order, which is ascending: numbers, or texts."""
        ids: NDArray[np.int64] = self._table["question_id"].to_numpy()
        return ids

    @property
    def questions(self) -> list[str]:
        """Every row's question."""
        texts: list[str] = self._table["question"].to_pylist()
        return texts

    @property
    def image_names(self) -> list[Id]:
        """Every row's image as the dataset has it, which goes into the images pattern: a number, or a text."""
        ids: list[Id] = self._table["image" if "image" in self._table.column_names else "image_id"].to_pylist()
        return ids

    @property
    def images(self) -> list[Path]:
        """Every row's image; rows on one image share the path."""
        ids = self.image_names
        paths = {image_id: self._image(image_id) for image_id in dict.fromkeys(ids)}
        return [paths[image_id] for image_id in ids]


def questions_of(items: Sequence[VqaItem]) -> list[str]:
    """Each item's question, without building the items of a split."""
    return items.questions if isinstance(items, VqaSplit) else [item.question for item in items]


def images_of(items: Sequence[VqaItem]) -> list[Path]:
    """Each item's image, without building the items of a split."""
    return items.images if isinstance(items, VqaSplit) else [item.image for item in items]


def read_split(
    dataset: str, split: str, questions: Path | None, annotations: Path, images: str, answer: Answer = "official"
) -> VqaSplit:
    """Parse a split: the official questions and annotations, or with ``questions=None`` the joined file.

    ``images`` is a pattern such as ``…/COCO_train2014_{image_id:012d}.jpg``. The digest is the SHA-256 of
    the files' bytes, questions first. Raises :class:`UserError` for anything that is not a complete split.
    """
    table, digest, _ = _parsed(
        annotations, lambda on_bytes: read_records(questions, annotations, answer, on_bytes)
    )
    return split_of(dataset, split, digest, images, table, str(annotations))


def load_split(
    dataset: str,
    split: str,
    questions: Path | None,
    annotations: Path,
    images: str,
    answer: Answer,
    *,
    digests: DigestCache,
    folder: Path,
) -> VqaSplit:
    """:func:`read_split`, but a split that was parsed before is mapped from ``folder``: a second, not twenty."""
    paths = [annotations] if questions is None else [questions, annotations]
    return load_parsed(
        dataset,
        split,
        paths,
        images,
        lambda on_bytes: read_records(questions, annotations, answer, on_bytes),
        [answer],
        digests=digests,
        folder=folder,
    )


def load_parsed(
    dataset: str,
    split: str,
    paths: Sequence[Path],
    images: str,
    parse: Parse,
    how: Sequence[Any],
    *,
    digests: DigestCache,
    folder: Path,
) -> VqaSplit:
    """The split that ``parse`` reads of ``paths``, mapped from ``folder`` if that was done before.

    ``how``: what besides the files' bytes decides the rows; its first element decides no row's place, so it is
    not part of the split's digest.
    """

    def split_with(table: pa.Table, digest: str) -> VqaSplit:
        digest = sha256_json([digest, *how[1:]]) if how[1:] else digest
        return split_of(dataset, split, digest, images, table, str(paths[-1]))

    for path in paths:
        require_content(path)
    try:
        key = _key(how, [digests.file(path) for path in paths])
    except OSError:
        return split_with(*_parsed(paths[-1], parse)[:2])  # says what is wrong
    if (found := read_table(_file(folder, dataset, split, key), key)) is None:
        table, digest, shas = _parsed(paths[-1], parse)
        key = _key(how, shas)  # of the bytes that were parsed, should the files have changed meanwhile
        path = _file(folder, dataset, split, key)
        try:
            write_table(path, table, key, digest)
        except OSError as error:
            _log.warning("%s cannot be written (%s): the next run parses the split again", path, error.strerror)
        found = read_table(path, key) or (table, digest)
    return split_with(*found)


def split_of(dataset: str, split: str, digest: str, images: str, table: pa.Table, where: str) -> VqaSplit:
    """The rows of ``table``, whose images lie where ``images`` says; ``where`` is the file that named them.

    Raises :class:`UserError` for a pattern that does not tell images apart, and for names that lead elsewhere.
    """
    named = "image" in table.column_names
    check_pattern(images, named=named)
    if named:
        check_image_names(table["image"].unique().to_pylist(), images, where)
    return VqaSplit(dataset, split, digest, images, table)


def _file(folder: Path, dataset: str, split: str, key: str) -> Path:
    return folder / f"{dataset}-{split}-{key[:16]}.arrow"


def _key(how: Sequence[Any], shas: list[str]) -> str:
    return sha256_json([SCHEMA_VERSION, *how, shas])


def _parsed(path: Path, parse: Parse) -> tuple[pa.Table, str, list[str]]:
    """(table, digest of all bytes, SHA-256 of each file)"""
    digest = hashlib.sha256()
    shas: list[str] = []

    def on_bytes(content: bytes) -> None:
        digest.update(content)
        shas.append(hashlib.sha256(content).hexdigest())

    records = parse(on_bytes)
    try:
        table = table_of(records)
    except UnicodeEncodeError as error:
        raise UserError(
            f"{path}: the text {error.object[:40]!r} holds half a character (a lone surrogate); fix that record."
        ) from None
    return table, digest.hexdigest(), shas


def check_pattern(images: str, *, named: bool = False) -> None:
    """Raises :class:`UserError` unless each image has a path of its own; ``named``: their ids are texts."""
    written = "images/{image_id}" if named else "COCO_{image_id:012d}.jpg"
    ids: tuple[Id, Id] = ("1", "2") if named else (1, 2)
    try:
        distinct = images.format(image_id=ids[0]) != images.format(image_id=ids[1])
    except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
        raise UserError(
            f"image pattern {brief(images)} cannot be filled ({brief(error)}); write it like {written}."
        ) from None
    if not distinct:
        raise UserError(f"image pattern {brief(images)} does not use {{image_id}}; write it like {written}.")
