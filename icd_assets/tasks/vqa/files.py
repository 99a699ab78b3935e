"""Which files a split is read from: the one place that decides between the layouts (SPEC B.2), or a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import model_validator

from icd_assets.datasets.share import Share
from icd_assets.datasets.table_rows import Table
from icd_assets.errors import UserError
from icd_assets.tasks.task import SplitFiles

if TYPE_CHECKING:
    from icd_assets.datasets.official import Answer, Record
    from icd_assets.datasets.vqa import VqaSplit
    from icd_assets.store.digests import DigestCache


class VqaFiles(SplitFiles):
    """One split's VQA files in either layout or both (SPEC B.2), or a table, and where image ``image_id`` lies.

    :func:`locate_split` says which are read. ``share`` takes a part of the images, by which one piece becomes two
    splits.
    """

    questions: str | None = None
    annotations: str | None = None
    joined: str | None = None  # official annotations whose elements carry their question
    override: str = ""  # a joined file that wins over all others
    subset: str | None = None  # a joined file that names some of the split's questions
    table: Table | None = None
    share: Share | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.questions is None) != (self.annotations is None):
            raise ValueError("questions and annotations belong together; give both, or joined alone")
        official = self.questions is not None or self.joined is not None or bool(self.override)
        if not official and self.table is None:
            raise ValueError("no file is named; give questions and annotations, or joined, or a table")
        if official and self.table is not None:
            raise ValueError("a table stands alone; leave out questions, annotations, joined and override")
        if self.share is not None and not 0 <= self.share[0] < self.share[1] <= 1:
            raise ValueError("share is from where to where of the images, such as [0, 0.8]")
        return self

    def locate(self, what: str) -> list[Path]:
        if self.table is not None:
            return [self.existing(self.table.path, what)]
        return locate_split(self, what).paths

    def parts(self) -> list[Any]:
        """Nothing for whole files in the official form, whose bytes say all."""
        table = None if self.table is None else self.table.model_dump(exclude={"path"}, exclude_defaults=True)
        share = None if self.share is None else list(self.share)
        return [] if table is None and share is None else [table, share]

    def read(self, dataset: str, split: str, *, answer: Answer, digests: DigestCache, folder: Path) -> VqaSplit:
        from icd_assets.datasets.vqa import load_parsed

        what = f"the {split} split of {dataset}"
        return load_parsed(
            dataset,
            split,
            self.locate(what),
            self.images,
            lambda on_bytes: self._records(what, answer, on_bytes),
            [answer, *self.parts()],
            digests=digests,
            folder=folder,
        )

    def _records(self, what: str, answer: Answer, on_bytes: Callable[[bytes], object]) -> list[Record]:
        from icd_assets.datasets.official import read_records
        from icd_assets.datasets.share import share_of
        from icd_assets.datasets.table_rows import read_table_records

        if self.table is not None:
            records, where = read_table_records(self.table, answer, on_bytes), self.table.path
        else:
            found = locate_split(self, what)
            records = read_records(found.questions, found.annotations, answer, on_bytes)
            where = str(found.annotations)
        return records if self.share is None else share_of(records, self.share, where)

    def subset_file(self) -> str | None:
        return self.subset


@dataclass(frozen=True, slots=True)
class SplitSource:
    """The files found; ``questions`` is None if ``annotations`` is a joined file."""

    questions: Path | None
    annotations: Path

    @property
    def paths(self) -> list[Path]:
        """In the order in which they are read."""
        return [self.annotations] if self.questions is None else [self.questions, self.annotations]


def locate_split(files: VqaFiles, dataset: str) -> SplitSource:
    """The override if one is set, else the official pair, else the joined file.

    Raises :class:`UserError` with every path looked at and the variables that move them.
    """
    if files.override:
        if not (override := Path(files.override)).is_file():
            raise UserError(
                f"{override} does not exist, and wins over all other files of {dataset}; {files.moved_by}."
            )
        return SplitSource(None, override)
    looked = []
    if files.questions is not None and files.annotations is not None:
        questions, annotations = Path(files.questions), Path(files.annotations)
        absent = [path.name for path in (questions, annotations) if not path.is_file()]
        if not absent:
            return SplitSource(questions, annotations)
        half = f" ({absent[0]} is missing)" if len(absent) == 1 else ""
        looked.append(f"{questions} with {annotations}{half}")
    if files.joined is not None:
        if (joined := Path(files.joined)).is_file():
            return SplitSource(None, joined)
        looked.append(str(joined))
    raise UserError(
        f"{dataset} was not found as {' or as '.join(looked)}; put the files there, or {files.moved_by}."
    )
