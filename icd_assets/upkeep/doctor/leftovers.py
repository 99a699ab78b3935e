"""What killed writers left under the results root: commits half done, staged files, temporary files.

Lock files are no leftovers: the kernel frees a lock with its holder, and the empty file says nothing.
"""

from __future__ import annotations

import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import Timeout

from icd_assets.errors import UserError
from icd_assets.runtime.finding import Finding, in_bytes
from icd_assets.runtime.locks import acquire
from icd_assets.store.atomic import clear
from icd_assets.store.journal import JOURNAL
from icd_assets.store.names import half_commits, is_abandoned, temporaries
from icd_assets.store.store import Store
from icd_assets.upkeep.doctor.databases import databases


def leftovers(store: Store, *, fix: bool) -> Iterator[Finding]:
    """Killed commits are ended or undone, staged and temporary files of the dead removed; nothing else is. What
    a killed step had finished stays, for the next run of it goes on from there.

    Only while nobody writes: every lock there is, is held meanwhile.
    """
    halves, temporary = half_commits(store.root), _temporary(store.root)
    folders = sorted(path for path in (store.private / "staging").glob("*") if path.is_dir())
    staged = [folder for folder in folders if not (folder / JOURNAL).is_file()]
    if kept := len(folders) - len(staged):
        yield Finding("artifacts", "ok", f"{kept} unfinished steps, from which the next run of them goes on")
    if not halves and not staged and not temporary:
        yield Finding("artifacts", "ok", "no leftovers of killed runs")
        return
    size = in_bytes(sum(_size(file) for folder in staged for file in folder.rglob("*")))
    files = f"{len(staged)} staging folders ({size}) and {len(temporary)} temporary files"
    with _nobody_writes(store.private / "locks") as quiet:
        if not quiet:
            yield Finding("artifacts", "ok", f"a run is at work: its files ({files}) are left alone")
            return
        if not fix:
            text = f"killed runs left {len(halves)} half-done commits, {files}"
            yield Finding("artifacts", "warning", text, "icd-assets doctor --fix fixes that")
            return
        for path in halves:
            try:
                store.recover(path)
            except UserError as error:  # one artifact's damage does not keep the others as they are
                yield Finding("artifacts", "problem", str(error))
                continue
            yield Finding("artifacts", "fixed", f"killed commit {'ended' if path.exists() else 'undone'}: {path}")
        for folder in staged:
            shutil.rmtree(folder, ignore_errors=True)  # a recovered commit took its own along
        for path in temporary:
            clear(path)
    if staged or temporary:
        yield Finding("artifacts", "fixed", f"removed what killed runs left: {files}")


def answers(store: Store) -> Iterator[Finding]:
    """The answers of the VLM: what was paid for."""
    from icd_assets.vlm.answers import open_answers, shared_database

    path = store.answers
    if shared_database() is not None:
        with open_answers(path) as opened:
            opened.texts([b""])
            yield Finding("answers", "ok", f"{opened.name}: there, and may be read")
    elif path.is_file():
        todo = "restore it from a backup or move it away, then answers are collected anew"
        yield from databases("answers", [path], todo)
    else:
        yield Finding("answers", "ok", "none yet")


def _temporary(root: Path) -> list[Path]:
    return [path for path in temporaries(root) if is_abandoned(path, _age(path))]


def _size(path: Path) -> int:
    """In bytes; none of what is no file, or went away since it was listed."""
    with suppress(OSError):
        facts = path.lstat()
        return facts.st_size if stat.S_ISREG(facts.st_mode) else 0
    return 0


def _age(path: Path) -> float:
    """In seconds, by the wall clock; negative if that was set back since: nothing is too old by mistake."""
    with suppress(OSError):
        return time.time() - path.lstat().st_mtime
    return 0.0


@contextmanager
def _nobody_writes(locks: Path) -> Iterator[bool]:
    """Hold every artifact's lock; False if somebody has one."""
    with ExitStack() as held:
        try:
            for path in (path for path in sorted(locks.glob("*.lock")) if path.is_file()):
                held.callback(acquire(path, timeout=0).release)
        except Timeout:
            held.close()
            yield False
            return
        yield True
