"""What a remote holds, manifest by manifest, as its names and numbers say it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property

from icd_assets.errors import UserError
from icd_assets.remote import layout
from icd_assets.remote.place import Place
from icd_assets.runtime.foreign import printable
from icd_assets.runtime.small_file import parse_json
from icd_assets.store.manifest import (
    MANIFEST_BYTES,
    FileRecord,
    Manifest,
    data_version,
    parse_manifest,
    wrong_with,
)
from icd_assets.store.store import Store

_REQUESTS = 16  # at once: each waits for the network, not for a core
_LINEAGE_BYTES = 64 << 20


@dataclass(frozen=True)
class Held:
    """The manifest that holds at a place, as it was put, and the number under which."""

    place: str
    number: int
    content: bytes
    manifest: Manifest


@dataclass
class Shelf:
    """One look at a remote. ``broken``: what stands there and is no manifest of ours, with why."""

    remote: Place
    broken: dict[str, str] = field(default_factory=dict)

    def require_ours(self) -> None:
        """Raises :class:`UserError` for a place that nobody has pushed to."""
        if not self._marked():
            raise UserError(
                f"{self.remote.address} holds no results of icd_assets; push some, or check the address."
            )

    def make_ours(self) -> None:
        """Mark an empty place; raises :class:`UserError` for one that holds anything else."""
        if self._marked():
            return
        if not self.remote.is_empty():
            if self._marked():  # another push began just now: its mark is the first that it puts
                return
            raise UserError(
                f"{self.remote.address} holds something else already; name an empty prefix, or another one."
            )
        self.remote.create(layout.MARKER, json.dumps({"form": layout.FORM}).encode())

    def _marked(self) -> bool:
        try:
            content = self.remote.read(layout.MARKER, 1000)
            marker = parse_json(content.decode()) if content is not None else None
        except ValueError:
            marker = {}
        if marker is None:
            return False
        if not isinstance(marker, dict) or marker.get("form") != layout.FORM:
            raise UserError(
                f"{self.remote.address} has an {layout.MARKER} of another version of icd_assets, or of another "
                "program; name another prefix."
            )
        return True

    @cached_property
    def numbers(self) -> Mapping[str, Sequence[int]]:
        """Place → its manifests' numbers, the one that holds last."""
        found: dict[str, list[int]] = {}
        for entry in self.remote.names(layout.MANIFESTS):
            if (known := layout.place_of_version(entry.name)) is None:
                self.broken[entry.name] = "no name of ours"
            else:
                found.setdefault(known[0], []).append(known[1])
        return {place: sorted(numbers) for place, numbers in sorted(found.items())}

    @cached_property
    def held(self) -> Mapping[str, Held]:
        """Place → what holds there, the oldest first: an input comes before what was made from it."""
        with ThreadPoolExecutor(_REQUESTS) as pool:
            every = pool.map(lambda place: self.at(place, self.numbers[place][-1]), self.numbers)
            found = [one for one in every if one is not None]
        found.sort(key=lambda one: one.manifest.created_at)
        return {one.place: one for one in found}

    def at(self, place: str, number: int) -> Held | None:
        """One manifest; None, and a word in ``broken``, if it is none. Whoever can write to the remote could have
        put anything there."""
        name = layout.version(place, number)
        try:
            content = self.remote.read(name, MANIFEST_BYTES)
            if content is None:
                raise ValueError("it is gone")
            manifest = parse_manifest(content.decode("utf-8-sig"))
            _check(manifest)
        except ValueError as error:
            self.broken[name] = wrong_with(error)
            return None
        return Held(place, number, content, manifest)

    def earlier(self, place: str) -> Iterator[Manifest]:
        """What held there before, the latest first."""
        for number in reversed(self.numbers.get(place, [])[:-1]):
            if (found := self.at(place, number)) is not None:
                yield found.manifest

    def behind(self, manifest: Manifest) -> list[Manifest]:
        """What the remote knows of the artifacts that one was made from; what is no such list is none."""
        name = layout.behind(manifest)
        try:
            content = self.remote.read(name, _LINEAGE_BYTES)
            listed = parse_json(content.decode()) if content is not None else []
            if not isinstance(listed, list):
                raise ValueError("it is no list")
            return [Manifest.model_validate(one) for one in listed]
        except ValueError as error:
            self.broken[name] = wrong_with(error)
            return []

    @cached_property
    def blobs(self) -> Mapping[str, int]:
        """SHA-256 → bytes."""
        entries = ((layout.sha256_of_blob(entry.name), entry.size) for entry in self.remote.names(layout.BLOBS))
        return {sha256: size for sha256, size in entries if sha256 is not None}

    def sentences(self) -> list[str]:
        """What is broken there, in words."""
        return [
            f"{printable(name)} on the remote is no file of ours ({why}); left alone"
            for name, why in sorted(self.broken.items())
        ]


def _check(manifest: Manifest) -> None:
    """A ``ValueError`` for a manifest that contradicts itself, or whose files would lie where none of ours do."""
    if manifest.data_version != data_version(manifest.files):
        raise ValueError("its data version is not that of the files it names")
    for record in manifest.files:
        if not layout.holds_files(record.path):
            raise ValueError("one of its files would lie outside of the results' folders")
        if layout.sha256_of_blob(layout.blob(record.sha256)) is None:
            raise ValueError("one of its digests is no SHA-256")


def can_travel(manifest: Manifest) -> bool:
    """Whether its files lie in the results, where they would lie on any machine."""
    return all(layout.holds_files(record.path) for record in manifest.files)


def same(one: Manifest, other: Manifest) -> bool:
    """Whether they are one artifact: of one run, or of the same bytes made of the same things."""
    if one.data_version != other.data_version:
        return False
    return one.build == other.build or one.spec.digest == other.spec.digest


def was_here(store: Store, manifest: Manifest) -> bool:
    """Whether a results root has, or had, this artifact."""
    return store.copy_of(manifest).is_file()


def present(manifest: Manifest) -> list[FileRecord]:
    """The files that it should still have."""
    return [record for record in manifest.files if record.pruned is None]


def chosen(manifest: Manifest, cells: Collection[str], only: Collection[str]) -> bool:
    """Whether a user who named ``cells`` and assets (none: all) means it."""
    return (not cells or manifest.cell in cells) and (not only or manifest.spec.asset in only)
