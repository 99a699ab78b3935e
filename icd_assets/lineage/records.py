"""Every manifest under a results root: those beside artifacts, and those of artifacts that were replaced since."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from icd_assets.errors import UserError
from icd_assets.store.manifest import Input, Manifest
from icd_assets.store.names import MANIFEST, manifest_beside, manifest_in
from icd_assets.store.store import Store

# Lever-Plus' layout (paths.py) has these folders; to search all of a results root could take minutes.
FOLDERS = ("*/cache", "*/generated_data", "*/model_cpk/*", "*/icl_inference/*")


def manifest_paths(root: Path) -> Iterator[Path]:
    """The manifests beside artifacts under a results root, unread."""
    return (path for folder in FOLDERS for path in sorted(root.glob(f"{folder}/*{MANIFEST}")))


class Records:
    """The manifests of one results root, read once.

    >>> records.live["demo/generated_data/rl_data_….json.manifest.json"]
    >>> records.find("rl_data", given)      # the manifest of exactly what was consumed, or None
    """

    def __init__(self, store: Store, elsewhere: Sequence[Manifest] = ()) -> None:
        """elsewhere: manifests that a published folder brings, of artifacts that were never under this root."""
        self.store = store
        self.elsewhere = elsewhere
        self.broken: dict[Path, str] = {}

    @cached_property
    def live(self) -> dict[str, Manifest]:
        """By path, relative to the results root."""
        found = self._read(manifest_paths(self.store.root))
        return {str(path.relative_to(self.store.root)): manifest for path, manifest in found}

    @cached_property
    def past(self) -> list[Manifest]:
        """All that were ever committed here, oldest first; those beside artifacts too."""
        found = [manifest for _, manifest in self._read(self.store.history.glob("*/*.json"))]
        return sorted(found, key=lambda manifest: manifest.created_at)

    @cached_property
    def unreadable(self) -> list[Manifest]:
        """What the history knows of artifacts whose own manifest is damaged: their files are still theirs."""
        assert self.live is not None  # it fills ``broken``
        return [manifest for manifest in self.past if any(place in self.broken for place in self._lay(manifest))]

    @cached_property
    def all(self) -> list[Manifest]:
        """Each build once; what lies beside an artifact knows best what was pruned of it."""
        builds = {_identity(manifest): manifest for manifest in (*self.elsewhere, *self.past)}
        builds |= {_identity(manifest): manifest for manifest in self.live.values()}
        return list(builds.values())

    def find(self, name: str, given: Input) -> Manifest | None:
        """What was consumed under ``name``: same bytes, and the same run where the consumer names one. Of several
        experiments with equal bytes the one at the place that the consumer read."""
        same = self.makers(name, given.data_version)
        same.sort(key=lambda manifest: given.manifest is None or self.place(manifest) != given.manifest)
        exact = [manifest for manifest in same if manifest.run_id == given.run_id]
        return next(iter(exact or same), None)

    def makers(self, name: str, data_version: str) -> list[Manifest]:
        """Every build of these bytes."""
        asset = name.partition(".")[0]
        return [
            manifest
            for manifest in self.all
            if manifest.spec.asset == asset and produced(name, manifest) == data_version
        ]

    def holding(self, path: Path) -> Manifest | None:
        """The artifact that a file of the content at ``path`` belongs to: the one that lies there, else one still
        there. A file of a size that none has, such as ten gigabytes of anyone's, is not read."""
        size = path.stat().st_size
        if not any(record.size == size for manifest in self.all for record in manifest.files):
            return None
        sha256 = self.store.digests.file(path)
        holding = [m for m in self.all if any(record.sha256 == sha256 for record in m.files)]

        def far(manifest: Manifest) -> tuple[bool, bool]:
            elsewhere = all(self.store.resolve(record) != path for record in manifest.files)
            return self.place(manifest) is None, elsewhere

        return min(holding, key=far, default=None)

    def place(self, manifest: Manifest) -> str | None:
        """Where the manifest lies today; None if its artifact was replaced or removed."""
        return self._places.get(_identity(manifest))

    def from_elsewhere(self, manifest: Manifest) -> bool:
        """Whether only a published folder knows of this artifact."""
        return any(manifest is one for one in self.elsewhere)

    def replaced(self, manifest: Manifest) -> bool:
        """Whether a manifest lies today where that of this artifact of ours lay. Its folder does not tell: beam
        data and pools of other settings lie side by side there."""
        return any(str(place.relative_to(self.store.root)) in self.live for place in self._lay(manifest))

    def successor(self, manifest: Manifest) -> Manifest | None:
        """What lies today where this artifact's files lay."""
        paths = {record.path for record in manifest.files}
        found = (live for live in self.live.values() if paths & {record.path for record in live.files})
        return next(found, None)

    def _lay(self, manifest: Manifest) -> list[Path]:
        """Where the manifest of an artifact that we made can have lain (``Experiment.manifest_path``)."""
        firsts = [self.store.resolve(record) for record in manifest.files[:1]]
        return [
            place
            for path in firsts
            for place in (manifest_beside(path), manifest_in(path.parent, manifest.spec.asset))
        ]

    @cached_property
    def _places(self) -> dict[tuple[str, ...], str]:
        return {_identity(manifest): path for path, manifest in self.live.items()}

    def _read(self, paths: Iterator[Path]) -> Iterator[tuple[Path, Manifest]]:
        for path in paths:
            try:
                manifest = self.store.read(path)
            except UserError as error:
                self.broken[path] = str(error)
                continue
            if manifest is not None:
                yield path, manifest


def _identity(manifest: Manifest) -> tuple[str, ...]:
    """One build of one artifact: of folders adopted in the same second the cell, the run and the time are one."""
    return (manifest.build, manifest.data_version, *(record.path for record in manifest.files))


def produced(name: str, manifest: Manifest) -> str:
    """The digest that consumers see under ``name``; ``v2_checkpoint.encoder`` is a part with its own."""
    part = name.partition(".")[2]
    return str(manifest.facts.get(f"{part}_digest")) if part else manifest.data_version
