"""Results put on a remote: files by content first, then lineage, then the manifest that names them."""

from __future__ import annotations

import json
import threading
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from icd_assets.errors import UserError
from icd_assets.remote import blobs, layout
from icd_assets.remote.here import Artifact, Here
from icd_assets.remote.place import Place
from icd_assets.remote.shared_answers import SharedAnswers
from icd_assets.remote.shelf import Held, Shelf, can_travel, chosen, present, same, was_here
from icd_assets.remote.turns import pushing
from icd_assets.runtime.progress import OnProgress
from icd_assets.runtime.small_file import read_small
from icd_assets.store.manifest import FileRecord

_AT_ONCE = 4  # files


@dataclass
class Done:
    """What a push or a pull did: places of artifacts, sentences about those left alone, sizes."""

    moved: list[str] = field(default_factory=list)
    up_to_date: int = 0
    left_alone: list[str] = field(default_factory=list)
    bytes: int = 0
    answers: int = 0


def push(
    here: Here,
    remote: Place,
    on_progress: OnProgress,
    *,
    cells: Collection[str] = (),
    only: Collection[str] = (),
    replace: bool = False,
    answers: bool = True,
    dry_run: bool = False,
) -> Done:
    """Every artifact of ``cells`` and of the assets ``only`` (none: of all) that the remote does not have.

    replace: also where the remote has another one that was made apart. Interrupted, it goes on where it was: a
    file that is there is not sent again. Progress counts bytes.
    """
    shelf, done = Shelf(remote), Done()
    if dry_run:
        if not remote.is_empty():
            shelf.require_ours()
        return _push(here, shelf, done, on_progress, cells, only, replace, answers, dry_run=True)
    shelf.make_ours()
    with pushing(remote):
        return _push(here, shelf, done, on_progress, cells, only, replace, answers, dry_run=False)


def _push(
    here: Here,
    shelf: Shelf,
    done: Done,
    on_progress: OnProgress,
    cells: Collection[str],
    only: Collection[str],
    replace: bool,
    answers: bool,
    *,
    dry_run: bool,
) -> Done:
    todo, there_already = [], []
    for artifact in here.artifacts.values():
        if not chosen(artifact.manifest, cells, only):
            continue
        there = shelf.held.get(artifact.place)
        if there is not None and same(there.manifest, artifact.manifest):
            there_already.append(artifact)
        elif (why := _alone(artifact, there, replace)) is not None:
            done.left_alone.append(why)
        else:
            todo.append(artifact)
    done.up_to_date = len(there_already)
    files = _files([*todo, *(one for one in there_already if one.store.damage(one.manifest) is None)], shelf)
    done.bytes = sum(record.size for _, record in files.values())
    done.moved = [artifact.place for artifact in todo]
    done.left_alone += [*here.broken, *shelf.sentences()]
    shared = SharedAnswers(here.store, shelf.remote)
    if dry_run:
        done.answers = shared.only_here() if answers else 0
        return done
    _send(shelf.remote, files, done.bytes, on_progress)
    done.moved = []
    for artifact in todo:
        if _publish(here, shelf, artifact):
            done.moved.append(artifact.place)
        else:
            done.left_alone.append(f"{artifact.place}: another push was quicker; look, and push again")
    if answers:
        done.answers = shared.push()
    return done


def _alone(artifact: Artifact, there: Held | None, replace: bool) -> str | None:
    """Why an artifact is not pushed, in words; None if it is."""
    if not can_travel(artifact.manifest):
        return f"{artifact.place}: its files lie outside the results, where no other machine has them"
    if (problem := artifact.store.damage(artifact.manifest)) is not None:
        return f"{problem}; it is not pushed"
    if there is None or replace or was_here(artifact.store, there.manifest):
        return None
    return (
        f"{artifact.place}: the remote has another one, made {there.manifest.created_at[:16]} of "
        f"{difference(artifact.manifest.spec.digest, there.manifest.spec.digest)}; pull it, or push yours with "
        "--replace"
    )


def difference(mine: str, theirs: str) -> str:
    return "the same settings and inputs, with other bytes" if mine == theirs else "other settings or inputs"


_Files = dict[str, tuple[Artifact, FileRecord]]


def _files(artifacts: list[Artifact], shelf: Shelf) -> _Files:
    """The files to send, each content once; also what the remote has lost of artifacts that are there."""
    found: _Files = {}
    for artifact in artifacts:
        for record in present(artifact.manifest):
            if shelf.blobs.get(record.sha256) != record.size:
                found.setdefault(record.sha256, (artifact, record))
    return found


def _send(remote: Place, files: _Files, total: int, on_progress: OnProgress) -> None:
    sent, lock, failed = 0, threading.Lock(), threading.Event()

    def moved(size: int) -> None:
        nonlocal sent
        if failed.is_set():
            raise UserError("interrupted")  # nobody sees it: the first error is on its way up
        with lock:
            sent += size
            on_progress(sent, total)

    def send(artifact: Artifact, record: FileRecord) -> None:
        blobs.send(remote, artifact.store.resolve(record), record.sha256, record.size, moved)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            for future in [pool.submit(send, *one) for one in files.values()]:
                future.result()
        except BaseException:
            failed.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _publish(here: Here, shelf: Shelf, artifact: Artifact) -> bool:
    """Put the manifest, now that its files are there; False if somebody else put one meanwhile."""
    behind = [one.model_dump(mode="json") for one in here.behind(artifact)]
    if behind:
        shelf.remote.create(layout.behind(artifact.manifest), json.dumps(behind).encode())
    number = (shelf.numbers.get(artifact.place) or [0])[-1] + 1
    return shelf.remote.create(layout.version(artifact.place, number), read_small(artifact.path))
