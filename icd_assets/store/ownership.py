"""Whose is a file in the results folder: written by us, or the user's, which stays as and where it is."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from icd_assets.runtime.small_file import read_small
from icd_assets.store.digests import DigestCache
from icd_assets.store.manifest import FileRecord, Manifest, read_manifest
from icd_assets.store.names import MANIFEST, beside_the_users


def own_files(manifest: Manifest | None) -> list[FileRecord]:
    """The files that we wrote: an imported or adopted artifact's are the user's."""
    return manifest.files if manifest is not None and manifest.origin == "made" else []


@dataclass(frozen=True)
class Ownership:
    """Judges files by the manifests that are there and those of the past."""

    root: Path
    history: Path
    digests: DigestCache

    def places(self, path: Path, staged: Mapping[Path, Path], now: Manifest | None) -> Mapping[Path, Path]:
        """Where the files of the artifact at ``path`` go, each final path with its staged one.

        As given, or, if one of them is the user's, all in a folder of ours. Not one by one: who looks for the
        newest epoch in the user's folder must find only theirs. ``now``: the manifest that is there.
        """
        if not any(self._collide(path, final, temporary, now) for final, temporary in staged.items()):
            return staged
        return {
            final if final == temporary else beside_the_users(final): temporary
            for final, temporary in staged.items()
        }

    def wrote(self, path: Path, name: str, digest: str) -> bool:
        """Whether an artifact beside ``path``, or one of the past, was made with the file ``name`` of this
        content."""
        made = ((r.path, r.sha256) for manifest in self._manifests(path, digest) for r in own_files(manifest))
        return (name, digest) in made

    def is_the_users(self, path: Path, final: Path, now: Manifest | None) -> bool:
        """Whether something that we never wrote has the place of a file of the artifact at ``path``. One of ours
        that was changed since is not meant: it is damaged."""
        if not os.path.lexists(final):
            return False
        if final.is_symlink() or not final.is_file():
            return True
        name = str(final.relative_to(self.root)) if final.is_relative_to(self.root) else str(final)
        if any(record.path == name for record in own_files(now)):
            return False
        return not self.wrote(path, name, self.digests.file(final))

    def _collide(self, path: Path, final: Path, temporary: Path, now: Manifest | None) -> bool:
        if final == temporary or not self.is_the_users(path, final, now):
            return False
        return not final.is_file() or self.digests.file(final) != self.digests.file(temporary)

    def _manifests(self, path: Path, digest: str) -> Iterator[Manifest]:
        for other in [*path.parent.glob(f"*{MANIFEST}*"), *self.history.glob("*/*.json")]:
            try:
                if digest.encode() in read_small(other):
                    yield read_manifest(other)
            except (OSError, ValueError):  # just replaced, or a user's own
                continue
