"""The dataset of a cell: its files, their digests, its splits."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from icd_assets.datasets.vqa import VqaSplit
from icd_assets.errors import UserError
from icd_assets.experiment.catalog_entries import DatasetEntry
from icd_assets.store.digests import sha256_json
from icd_assets.store.known import Known
from icd_assets.store.manifest import Input
from icd_assets.store.store import Store
from icd_assets.tasks import SplitFiles


@dataclass(frozen=True)
class CellData:
    """What a dataset entry of the catalog names, read from disk. ``read_only``: nothing is written for it.

    >>> experiment.data.train[7].question      # a split as rows
    >>> experiment.data.digest("train")        # the same by content
    """

    entry: DatasetEntry
    store: Store  # remembers digests, and keeps parsed splits
    read_only: bool = False
    known: Known[Input] | None = None

    @property
    def folder(self) -> Path:
        """The cache of what was found out about splits."""
        return self.store.caches / "datasets"

    def prepare(self) -> None:
        """Write what is missing of a dataset that can be generated (the catalog's ``prepare``)."""
        if self.entry.prepare is not None and not self.read_only:
            module, function = self.entry.prepare.split(":")
            try:
                write = getattr(importlib.import_module(module), function)
            except (ImportError, AttributeError):
                raise UserError(
                    f"{self.entry.prepare!r}, prepare of dataset {self.entry.name}, is no function of an "
                    "installed package; fix it in the catalog."
                ) from None
            write(self.entry.train, self.entry.validation)

    @cached_property
    def train(self) -> VqaSplit:
        return self._split("train")

    @cached_property
    def validation(self) -> VqaSplit:
        return self._split("validation")

    def source_files(self, split: str) -> list[Path]:
        """The files whose bytes decide a split's rows."""
        return self._files(split).locate(f"the {split} split of {self.entry.name}")

    def subset_path(self) -> Path:
        """The file that lists the validation questions of ``evaluation.subset``."""
        if (listed := self._files("validation").subset_file()) is None:
            raise UserError(
                f"evaluation.subset is set, but the catalog names no subset of {self.entry.name}'s validation "
                "split; unset it, or name the file under validation.subset."
            )
        if not (path := Path(listed)).is_file():
            raise UserError(f"evaluation.subset is set, but {path} does not exist; put it there, or unset that.")
        return path

    def digest(self, *splits: str) -> Input:
        """Of the splits' files, in the layout that is there, and of the answers taken from them."""
        if self.known is None:
            return self._digest(*splits)
        return self.known.get((self.entry.name, splits), lambda: self._digest(*splits))

    def _digest(self, *splits: str) -> Input:
        self.prepare()
        paths = [path for split in splits for path in self.source_files(split)]
        digest = self.store.digests.files(paths)
        if self.entry.answer != "official":
            digest = sha256_json([digest, self.entry.answer])
        if parts := [part for split in splits for part in self._files(split).parts()]:
            digest = sha256_json([digest, parts])
        if self.entry.leave_out:
            digest = sha256_json([digest, sorted(self.entry.leave_out)])
        return Input(data_version=digest)

    def _files(self, split: str) -> SplitFiles:
        return self.entry.train if split == "train" else self.entry.validation

    def _split(self, name: str) -> VqaSplit:
        self.prepare()
        whole = self._files(name).read(
            self.entry.name,
            name,
            answer=self.entry.answer,
            digests=self.store.digests,
            folder=self.folder,
        )
        return whole.without(self.entry.leave_out)
