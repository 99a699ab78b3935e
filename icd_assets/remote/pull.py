"""Results taken from a remote, as if they had been made here."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from icd_assets.errors import UserError
from icd_assets.remote import blobs, layout
from icd_assets.remote.here import Here
from icd_assets.remote.place import Place
from icd_assets.remote.push import Done, difference
from icd_assets.remote.shared_answers import SharedAnswers
from icd_assets.remote.shelf import Held, Shelf, chosen, present, same
from icd_assets.runtime.locks import Holder, OnWait
from icd_assets.runtime.progress import OnProgress
from icd_assets.store.atomic import write_atomic
from icd_assets.store.manifest import FileRecord, Manifest
from icd_assets.store.store import Store


@dataclass(frozen=True)
class _Coming:
    """An artifact to install, where it goes, and which of its files have to be fetched."""

    held: Held
    store: Store
    path: Path
    missing: list[FileRecord]


def pull(
    here: Here,
    remote: Place,
    on_progress: OnProgress,
    on_wait: OnWait,
    *,
    cells: Collection[str] = (),
    only: Collection[str] = (),
    replace: bool = False,
    answers: bool = True,
    dry_run: bool = False,
) -> Done:
    """Every artifact of ``cells`` and of the assets ``only`` (none: of all) that is not here, or is damaged here.

    What an artifact was made from is always known afterwards; its files come if they are chosen too. One that was
    made here apart stays, unless ``replace``. Interrupted, it goes on where it was. Progress counts bytes.
    """
    shelf, done = Shelf(remote), Done()
    shelf.require_ours()
    coming: dict[str, list[_Coming]] = {}
    for held in shelf.held.values():
        if not chosen(held.manifest, cells, only):
            continue
        store, path = here.locate(held.place)
        mine = store.read(path)
        if mine is not None and same(mine, held.manifest) and store.damage(mine) is None:
            done.up_to_date += 1
        elif (why := _alone(shelf, held, store, path, mine, replace)) is not None:
            done.left_alone.append(why)
        else:
            one = _Coming(held, store, path, _missing(held.manifest, store))
            coming.setdefault(held.manifest.cell, []).append(one)
    wanted = {record.sha256: record for every in coming.values() for one in every for record in one.missing}
    done.bytes = sum(record.size for record in wanted.values())
    done.left_alone += shelf.sentences()
    shared = SharedAnswers(here.store, remote)
    if dry_run:
        done.moved = [one.held.place for every in coming.values() for one in every]
        done.answers = shared.only_there() if answers else 0
        return done
    folder = here.store.pulled
    got = 0

    def moved(size: int) -> None:
        nonlocal got
        got += size
        on_progress(got, done.bytes)

    for record in wanted.values():
        blobs.fetch(remote, layout.blob(record.sha256), record.sha256, record.size, folder, moved)
    for cell, every in coming.items():
        with here.store.turn(cell, Holder(f"pull of {cell}"), on_wait):
            here.store.mark_unrecorded("pull", cell)
            for one in every:
                _install(shelf, one, folder, on_wait)
                done.moved.append(one.held.place)
    if answers:
        done.answers = shared.pull()
    shutil.rmtree(folder, ignore_errors=True)
    return done


def _alone(shelf: Shelf, held: Held, store: Store, path: Path, mine: Manifest | None, replace: bool) -> str | None:
    """Why an artifact is not pulled, in words; None if it is."""
    for record in present(held.manifest):
        final = store.resolve(record)
        if store.is_the_users(path, final) and not store.is_own(record):
            return f"{held.place}: a file of yours lies at {final}; move it away, and pull again"
    if mine is None or replace or same(mine, held.manifest):
        return None
    if any(same(mine, before) for before in shelf.earlier(held.place)):
        return None
    what = difference(mine.spec.digest, held.manifest.spec.digest)
    return (
        f"{held.place}: yours, made {mine.created_at[:16]}, is of {what} than the remote's, "
        f"made {held.manifest.created_at[:16]}; push yours with --replace, or take theirs with --replace"
    )


def _missing(manifest: Manifest, store: Store) -> list[FileRecord]:
    return [record for record in present(manifest) if not store.is_own(record)]


def _install(shelf: Shelf, one: _Coming, folder: Path, on_wait: OnWait) -> None:
    manifest, store = one.held.manifest, one.store
    for before in shelf.behind(manifest):
        _remember(store, before)
    with store.lock(one.path, Holder(f"pull of {one.held.place}"), on_wait):
        store.recover(one.path)
        with store.staging(one.path, manifest.spec) as staging:
            staged = [
                _staged(store, record, folder, staging / str(at)) for at, record in enumerate(manifest.files)
            ]
            store.receive(one.path, one.held.content, staged)


def _staged(store: Store, record: FileRecord, folder: Path, copy: Path) -> Path:
    """Where a file lies that goes to its place: a link to what was fetched, whose bytes two artifacts may have."""
    if record.pruned is not None or store.is_own(record):
        return store.resolve(record)
    fetched = folder / record.sha256
    if not fetched.is_file():
        raise UserError(f"{store.resolve(record)} changed while results were pulled; pull again.")
    try:
        os.link(fetched, copy)
    except OSError:  # a file system without
        shutil.copyfile(fetched, copy)
    return copy


def _remember(store: Store, manifest: Manifest) -> None:
    """A record of the past, for lineage; one that is known is never rewritten."""
    if not (kept := store.copy_of(manifest)).exists():
        write_atomic(kept, (manifest.model_dump_json(indent=1) + "\n").encode())
