"""Which files a split is read from: the one place that decides between the two layouts (SPEC B.2)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import model_validator

from icd_assets.errors import UserError
from icd_assets.tasks.task import SplitFiles

if TYPE_CHECKING:
    from icd_assets.datasets.official import Answer
    from icd_assets.datasets.vqa import VqaSplit
    from icd_assets.store.digests import DigestCache


class VqaFiles(SplitFiles):
    """The VQA files of one split in either layout or both (SPEC B.2), and where image ``image_id`` lies.

    :func:`locate_split` says which are read.
    """

    questions: str | None = None
    annotations: str | None = None
    joined: str | None = None  # official annotations whose elements carry their question
    override: str = ""  # a joined file that wins over all others
    subset: str | None = None  # a joined file that names some of the split's questions

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.questions is None) != (self.annotations is None):
            raise ValueError("questions and annotations belong together; give both, or joined alone")
        if self.questions is None and self.joined is None and not self.override:
            raise ValueError("no file is named; give questions and annotations, or joined")
        return self

    def locate(self, what: str) -> list[Path]:
        return locate_split(self, what).paths

    def parts(self) -> list[str | None]:
        return []

    def read(self, dataset: str, split: str, *, answer: Answer, digests: DigestCache, folder: Path) -> VqaSplit:
        from icd_assets.datasets.vqa import load_split

        found = locate_split(self, f"the {split} split of {dataset}")
        return load_split(
            dataset,
            split,
            found.questions,
            found.annotations,
            self.images,
            answer,
            digests=digests,
            folder=folder,
        )

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
