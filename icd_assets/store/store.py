"""Artifacts on disk: a manifest beside each, written last; files appear whole or not at all.

The contract: a manifest exists if and only if its artifact is complete. Files are written in a
staging folder, fsynced, moved into place, and only then is the manifest moved beside them. What an artifact
*should* be made of is a :class:`Spec`; an artifact whose manifest carries an equal spec, and whose files still
have the digests it names, need not be made again.

A manifest is replaced with its artifact, but a copy of it stays in ``.icd_assets/history``, by data version: a
checkpoint that was copied away still leads to the run that made its RL data.
"""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any

from icd_assets.errors import UserError
from icd_assets.runtime.locks import Holder, OnWait, held_by, hold_one, wait_silently
from icd_assets.runtime.small_file import read_small
from icd_assets.store.atomic import clear, fsync, make_folder, remove_torn, write_atomic
from icd_assets.store.digests import DigestCache
from icd_assets.store.journal import JOURNAL
from icd_assets.store.known import Known
from icd_assets.store.manifest import (
    MANIFEST_BYTES,
    FileRecord,
    Manifest,
    Spec,
    data_version,
    parse_manifest,
    read_manifest,
    wrong_with,
)
from icd_assets.store.names import MANIFEST, PRIVATE, pending_of, previous_of, set_aside, shared_root
from icd_assets.store.ownership import Ownership, own_files
from icd_assets.store.room import require_room

_DEEPEST = 50  # artifacts behind each other; a cell has a dozen


class Store:
    """Manifests and files under one results root.

    >>> store.read(path)                    # the manifest there, or None
    >>> store.stale(path, spec)             # why it must be made again, or None
    >>> with store.lock(path), store.staging(path, spec) as staging: ...
    >>> store.commit(path, {final: staged}, manifest_fields)
    """

    def __init__(self, root: Path, *, rehash: bool = False) -> None:
        self.root = root.absolute()
        self.private = self.root / PRIVATE
        self.caches = shared_root(self.root) / PRIVATE  # with the answers: one place for all seeds
        self.history = self.private / "history"
        self.digests = DigestCache(self.caches / "digests.json", rehash=rehash)
        self._ownership = Ownership(self.root, self.history, self.digests)
        self._known: Known[Manifest | None] | None = None

    @property
    def answers(self) -> Path:
        """The database of the VLM's answers."""
        return self.caches / "answers.sqlite"

    @property
    def pulled(self) -> Path:
        """A folder for files from a remote, by content, until their artifacts are whole."""
        return self.private / "pulled"

    def read_once(self) -> Store:
        """The same store, but each manifest is read once: for a table whose lines must fit together."""
        twin = copy(self)
        twin._known = Known()
        return twin

    def read(self, path: Path) -> Manifest | None:
        """The manifest at ``path``, or None if there is none; :class:`UserError` for a broken one."""
        return _read(path) if self._known is None else self._known.get(path, lambda: _read(path))

    def require(self, path: Path, asset: str) -> Manifest:
        """The manifest of an input that must exist."""
        found = self.read(path)
        if found is None:
            raise UserError(f"{asset} is not there yet (no manifest at {path}); materialize {asset} first.")
        return found

    def resolve(self, record: FileRecord) -> Path:
        return self.root / record.path  # an absolute record.path wins

    def files(self, manifest: Manifest) -> list[Path]:
        """The artifact's files, each verified against its digest; a pruned one's path leads nowhere."""
        if (altered := self.altered(manifest)) is not None:
            raise UserError(f"{altered}.")
        if (problem := self.damage(manifest)) is not None:
            raise UserError(f"{problem}; restore the file, or delete the manifest to have it made again.")
        return [self.resolve(record) for record in manifest.files]

    def altered(self, manifest: Manifest) -> str | None:
        """Which file of an adopted artifact was changed since, and what to do: the user decides, not we."""
        if manifest.origin != "adopted":
            return None
        for path, record in ((self.resolve(record), record) for record in manifest.files):
            if path.is_file() and not self._holds(path, record):
                return (
                    f"{path} was changed after it was adopted; adopt it again as it is now (icd-assets adopt), "
                    f"restore it, or make a new one with --force {manifest.spec.asset}"
                )
        return None

    def damage(self, manifest: Manifest) -> str | None:
        """What is wrong with the files of a complete artifact, in words; None if nothing is."""
        problems = (self.rot(record, manifest.spec.asset) for record in manifest.files)
        return next((problem for problem in problems if problem is not None), None)

    def rot(self, record: FileRecord, asset: str) -> str | None:
        """What is wrong with one file, in words; one that was pruned may be gone."""
        try:
            return self._rot(record, asset)
        except OSError as error:
            return f"{self.resolve(record)} cannot be read ({error.strerror})"

    def _rot(self, record: FileRecord, asset: str) -> str | None:
        path = self.resolve(record)
        if not path.is_file():
            return None if record.pruned is not None else f"{path} is gone"
        if not self._holds(path, record):
            return f"{path} is no longer what {asset} wrote"
        return None

    def _holds(self, path: Path, record: FileRecord) -> bool:
        """Whether the file at ``path`` has the bytes of a record; one of another size is not read for it."""
        return path.stat().st_size == record.size and self.digests.file(path) == record.sha256

    def stale(self, path: Path, spec: Spec) -> str | None:
        """Why the artifact must be made again, in words; None if it is up to date. What may not be read is not
        known to be damaged: that is the user's to fix (:class:`UserError`), and nothing is made again for it."""
        try:
            return self._stale(path, spec)
        except PermissionError as error:
            raise _unreadable(Path(error.filename or path), error) from None

    def _stale(self, path: Path, spec: Spec) -> str | None:
        manifest = self.read(path)
        if manifest is None:
            return "missing"
        if (altered := self.altered(manifest)) is not None:
            return altered
        have = manifest.spec
        if have.code_version != spec.code_version:
            return f"code version {have.code_version} → {spec.code_version}"
        if changed := _changed(have.config, spec.config):
            return f"config changed: {changed}"
        for name in sorted(have.digests | spec.digests):
            if have.digests.get(name) != spec.digests.get(name):
                return f"{name} changed"
        problems = (self._rot(record, have.asset) for record in manifest.files)
        return next((problem for problem in problems if problem is not None), None)

    def vlms(self, spec: Spec) -> tuple[str, ...]:
        """The VLMs at work in an artifact: the one it asks, and those behind the artifacts it is made from.

        None where no VLM answered yet, or where the answers came in a file that does not say whose they are.
        An input of which only a part was read (the encoder in a v2 checkpoint) brings nothing.
        """
        return self._vlms(spec)

    def _vlms(self, spec: Spec, depth: int = 0) -> tuple[str, ...]:
        if depth > _DEEPEST:
            raise UserError(f"the manifests behind {spec.asset} name each other as inputs; fix them.")
        found = [spec.inputs["vlm"].data_version] if "vlm" in spec.inputs else []
        for given in spec.inputs.values():
            manifest = self.read(self.root / given.manifest) if given.manifest is not None else None
            if manifest is not None and manifest.data_version == given.data_version:
                # The latter of a manifest older than the field.
                found += manifest.vlm or self._vlms(manifest.spec, depth + 1)
        return tuple(dict.fromkeys(found))

    def mark_unrecorded(self, run_id: str, cell: str | None) -> None:
        """To be called before a run publishes something of ``cell`` (None: of all cells): if it is killed before
        Dagster has recorded it, the mark is still there, and the next run checks."""
        mark = self._unrecorded / f"{_short(cell) if cell else 'all'}-{run_id}"
        make_folder(mark.parent)
        mark.touch()

    def unrecorded_marks(self, cell: str) -> dict[Path, str]:
        """Mark → run."""
        marks = [*self._unrecorded.glob(f"{_short(cell)}-*"), *self._unrecorded.glob("all-*")]
        return {mark: mark.name.partition("-")[2] for mark in sorted(marks)}

    @property
    def _unrecorded(self) -> Path:
        return self.private / "unsaid"  # an old name: folders on disk are never renamed

    @contextmanager
    def lock(self, path: Path, holder: Holder | None = None, on_wait: OnWait = wait_silently) -> Iterator[None]:
        """One writer per artifact; the kernel frees the lock of a writer that died."""
        locks = {path.name.removesuffix(MANIFEST): self._lock_file(path)}
        with hold_one(locks, holder or Holder(), on_wait):
            yield

    @contextmanager
    def turn(self, cell: str, holder: Holder, on_wait: OnWait) -> Iterator[None]:
        """One command per cell: two with other settings would each read what the other has just made."""
        with hold_one({cell: self.private / "locks" / f"cell-{_short(cell)}.lock"}, holder, on_wait):
            yield

    def writer(self, path: Path) -> str | None:
        """Who holds the lock of the artifact at ``path`` right now, in words."""
        return held_by(self._lock_file(path))

    def _lock_file(self, path: Path) -> Path:
        return self.private / "locks" / f"{path.name.split('.')[0]}-{_short(self._relative(path))}.lock"

    @contextmanager
    def staging(self, path: Path, spec: Spec, *, afresh: bool = False) -> Iterator[Path]:
        """A folder for unfinished files on the results' own file system. Enter it under :meth:`lock`.

        It is empty, unless the same spec was interrupted and left a journal of what it had finished. ``afresh``
        empties it in any case, and what another spec of this artifact left is removed: under the lock nobody
        else can be using either.
        """
        folder = self._staging_folder(path, spec)
        make_folder(folder.parent)
        for other in folder.parent.glob(f"{self._staging_prefix(path, spec)}*"):
            if afresh or other != folder or other.is_symlink() or not (other / JOURNAL).is_file():
                clear(other)
        folder.mkdir(exist_ok=True)
        try:
            yield folder
        except BaseException:
            if not (folder / JOURNAL).is_file() and not pending_of(path).exists():
                shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(folder, ignore_errors=True)

    def _staging_folder(self, path: Path, spec: Spec) -> Path:
        return self.private / "staging" / f"{self._staging_prefix(path, spec)}{spec.digest[:16]}"

    def _staging_prefix(self, path: Path, spec: Spec) -> str:
        """Two artifacts may have the same spec: each has its own place."""
        return f"{spec.asset}-{_short(self._relative(path))}-"

    def commit(
        self, path: Path, staged: Mapping[Path, Path], still: Callable[[], None] = lambda: None, **fields: Any
    ) -> Manifest:
        """Move ``{final: staged}`` into place and the manifest after them. A final path that is its own
        staged path is recorded where it lies (an imported file). Where a file of the user's has one of the
        names, all go into the folder ``icd_assets`` beside it, and theirs stays.

        The new manifest is written beside its place first, as ``.pending``, and the old one set aside as
        ``.previous``: a writer killed between two moves leaves files that are known to be ours, and
        :meth:`recover` ends what it began or, if a file is lost, goes back.

        ``still``: called when all is hashed and nothing written; raises if the files are not what they were.
        """
        staged = self._ownership.places(path, staged, self.read(path))
        for temporary in staged.values():
            fsync(temporary)
        manifest, content = self._recorded(path, staged, fields, self.digests.file)
        still()
        write_atomic(pending_of(path), content)
        self._install(path, manifest, list(staged.values()))
        return manifest

    def rehearse(self, path: Path, staged: Mapping[Path, Path], **fields: Any) -> None:
        """:class:`UserError` for what would stop :meth:`commit` half-way, as far as it can be seen before: names,
        folders, permissions, what stands in the way, a manifest that could not be read again. Writes nothing."""
        asset = fields["spec"].asset
        for half in (pending_of(path), previous_of(path)):
            self.read(half)
        locks = (self._lock_file(path), self.private / "moving.lock")
        history = self.history / asset / "manifest.json"
        staging = self.private / "staging" / "any"
        placed = self._ownership.places(path, staged, self.read(path))
        finals = [final for final, temporary in placed.items() if final != temporary]
        require_room([pending_of(path), previous_of(path), *locks, staging, history, *finals])
        for lock in locks:
            if lock.is_dir() and any(lock.iterdir()):
                raise UserError(f"{lock} cannot be a lock (it is a folder that holds files); move it away.")
        self._recorded(path, placed, fields, lambda _: "0" * 64)

    def _recorded(
        self, path: Path, staged: Mapping[Path, Path], fields: Mapping[str, Any], digest: Callable[[Path], str]
    ) -> tuple[Manifest, bytes]:
        """The manifest and its bytes, which any later command can read."""
        try:
            records = [
                FileRecord(path=self._relative(final), size=temporary.stat().st_size, sha256=digest(temporary))
                for final, temporary in staged.items()
            ]
            made_from: Spec = fields["spec"]
            vlm = self.vlms(made_from)
            manifest = Manifest(files=records, data_version=data_version(records), vlm=vlm, **fields)
            content = (manifest.model_dump_json(indent=1) + "\n").encode()
            if len(content) > MANIFEST_BYTES:
                raise ValueError(
                    f"it would have {len(content) >> 20} MiB, of which {MANIFEST_BYTES >> 20} are read"
                )
            parse_manifest(content.decode())
        except ValueError as error:
            raise UserError(
                f"{path} cannot be written ({wrong_with(error)}); fix the names or the files."
            ) from None
        return manifest, content

    def receive(self, path: Path, content: bytes, staged: Sequence[Path]) -> None:
        """Install an artifact of another results root: its manifest as it is, to the byte, and its files, staged
        in the manifest's order; a pruned one's path is its final one. Enter it under :meth:`lock`."""
        write_atomic(pending_of(path), content)
        pending = self.read(pending_of(path))
        assert pending is not None
        self._install(path, pending, list(staged))

    def _install(self, path: Path, manifest: Manifest, staged: list[Path]) -> None:
        """Move the files of a pending manifest into place, remove those of the previous one, and publish."""
        if path.exists():  # from here to the end the artifact is incomplete, and says so
            path.replace(previous_of(path))
            fsync(path.parent)
        if (previous := self.read(previous_of(path))) is not None:
            self._remember(previous_of(path), previous)
        ours = {record.path: record.sha256 for record in own_files(previous)}
        with self._moving():
            for record, temporary in zip(manifest.files, staged, strict=True):
                final = self.resolve(record)
                if final == temporary or (final.is_file() and self._holds(final, record)):
                    continue
                make_folder(final.parent)
                self._keep_changed(path, record.path, ours.get(record.path))
                temporary.replace(final)
                fsync(final.parent)
            there = [record for record in manifest.files if self.resolve(record).exists()]  # not pruned elsewhere
            self.digests.learn({self.resolve(record): record.sha256 for record in there})
            gone = set(ours) - {record.path for record in manifest.files}  # epochs that it no longer has
            for record in own_files(previous):
                if record.path in gone:
                    self._remove(path, record)
        previous_of(path).unlink(missing_ok=True)
        pending_of(path).replace(path)
        fsync(path.parent)
        self._remember(path, manifest)

    @contextmanager
    def _moving(self) -> Iterator[None]:
        """One commit at a time moves its files: samplers share the anchors' file, each under its own lock. Not
        among those locks: who ends others' commits holds all of them."""
        with hold_one({"moving files": self.private / "moving.lock"}, Holder("a commit")):
            yield

    def _remove(self, path: Path, record: FileRecord) -> None:
        """Remove a file that the artifact at ``path`` no longer has, unless one beside it has it, or soon will."""
        name = json.dumps(record.path, ensure_ascii=False).encode()
        others = [
            other
            for other in sorted(path.parent.glob(f"*{MANIFEST}*"))  # a user's copy of a manifest counts too
            if not other.name.startswith((path.name, "."))
        ]
        try:
            if any(name in _content(other) for other in others):
                return
        except OSError:  # just published, say: a file too many is better than one too few
            return
        self.remove_own(record)

    def _remember(self, path: Path, manifest: Manifest) -> None:
        """Keep a copy of the manifest at ``path``; a record of the past is never rewritten."""
        if not (kept := self.copy_of(manifest)).exists():
            write_atomic(kept, read_small(path))

    def copy_of(self, manifest: Manifest) -> Path:
        """Where the history keeps a copy of a manifest, if it was ever committed here."""
        return self.history / manifest.spec.asset / f"{manifest.data_version}-{manifest.build}.json"

    def recover(self, path: Path) -> None:
        """End, or undo, a commit that was killed half-way. Call under :meth:`lock`."""
        for torn in (path, pending_of(path)):
            remove_torn(torn)
        coming, previous = self.read(pending_of(path)), self.read(previous_of(path))
        if coming is not None and (staged := self._where_it_is(path, coming)) is not None:
            self._install(path, coming, staged)
        elif previous is not None and self.damage(previous) is None:
            pending_of(path).unlink(missing_ok=True)
            previous_of(path).replace(path)
        else:
            halves = (coming, previous) if not path.exists() else ()
            if lost := [record for manifest in halves for record in own_files(manifest)]:
                with self._moving():
                    for record in lost:
                        self._remove(path, record)
            pending_of(path).unlink(missing_ok=True)
            previous_of(path).unlink(missing_ok=True)
        if (complete := self.read(path)) is not None:  # killed before its staging folder was removed
            shutil.rmtree(self._staging_folder(path, complete.spec), ignore_errors=True)

    def _where_it_is(self, path: Path, coming: Manifest) -> list[Path] | None:
        """Each file of a pending manifest, in its place or still staged; None if one is lost."""
        staged: dict[str, list[Path]] = defaultdict(list)
        folder = self._staging_folder(path, coming.spec)
        for file in (file for file in sorted(folder.glob("*")) if file.is_file()):
            staged[self.digests.file(file)].append(file)
        found = []
        for record in coming.files:
            final = self.resolve(record)
            if (final.is_file() and self._holds(final, record)) or record.pruned is not None:
                found.append(final)
            elif staged[record.sha256]:  # two files may be equal
                found.append(staged[record.sha256].pop())
            else:
                return None
        return found

    def is_the_users(self, path: Path, final: Path) -> bool:
        """Whether a file of the user's has the place of one of the artifact whose manifest is ``path``."""
        return self._ownership.is_the_users(path, final, self.read(path))

    def remove_own(self, record: FileRecord) -> None:
        """Remove a file inside the results root that still has the bytes we wrote."""
        if self.is_own(record):
            self.resolve(record).unlink()

    def is_own(self, record: FileRecord) -> bool:
        """Whether a file of an artifact that we made is there, with the bytes we wrote."""
        path = self.resolve(record)
        inside = not Path(record.path).is_absolute()
        return inside and path.is_file() and self._holds(path, record)

    def _keep_changed(self, path: Path, name: str, ours: str | None) -> None:
        """A file that was changed since we wrote it is moved aside, never overwritten."""
        final = self.root / name
        if not final.is_file() or (digest := self.digests.file(final)) == ours:
            return
        if not self._ownership.wrote(path, name, digest):
            final.replace(set_aside(final, digest))

    def _relative(self, path: Path) -> str:
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)


def _read(path: Path) -> Manifest | None:
    try:
        return read_manifest(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _unreadable(path, error) from None
    except ValueError as error:
        raise UserError(
            f"{path} is not a manifest of icd_assets ({wrong_with(error)}); "
            "move it away to have the artifact made again."
        ) from None


def _content(path: Path) -> bytes:
    """Of what may be a manifest; nothing of what is no file at all."""
    try:
        return read_small(path)
    except OSError as error:
        if error.errno in (errno.EISDIR, errno.EINVAL, errno.ELOOP):
            return b""
        raise


def _unreadable(path: Path, error: OSError) -> UserError:
    todo = "fix its permissions" if isinstance(error, PermissionError) else "move it away"
    return UserError(f"{path} cannot be read ({error.strerror}); {todo}.")


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


_CHANGES_SHOWN = 4


def _changed(have: Mapping[str, Any], spec: Mapping[str, Any]) -> str:
    """``lr 0.0001 → 0.001, epochs 5 → 3``; the spec's keys first, those that no longer matter last."""
    have, spec = json.loads(json.dumps(have)), json.loads(json.dumps(spec))
    keys = sorted({*have, *spec}, key=lambda key: (key not in spec, key))
    changes = [f"{key} {have.get(key)} → {spec.get(key)}" for key in keys if have.get(key) != spec.get(key)]
    more = len(changes) - _CHANGES_SHOWN
    return ", ".join(changes[:_CHANGES_SHOWN]) + (f" and {more} more" if more > 0 else "")
