"""Each reader of a small file, given every hostile thing in its place: it goes on, or says so in a sentence.

What is a cache is made again; a folder with somebody's files in it stays.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from icd_assets.cli.ui import _read as read_running
from icd_assets.datasets.verified_images import Stamp, VerifiedImages
from icd_assets.defs.runs.instance import enter_home
from icd_assets.errors import UserError
from icd_assets.runtime.locks import Holder, held_by, hold_one
from icd_assets.runtime.new_home import write_home
from icd_assets.store.digests import DigestCache
from icd_assets.store.journal import Journal
from icd_assets.vlm.answer_store import AnswerStore
from icd_assets_tests.worlds import hostile


def _digests(path: Path) -> None:
    file = path.with_name("hashed")
    file.write_bytes(b"hashed")
    digest = hashlib.sha256(b"hashed").hexdigest()
    assert DigestCache(path).file(file) == digest
    if not path.is_dir():
        assert DigestCache(path)._read()[str(file)][2] == digest, "it is made again"


def _journal(path: Path) -> None:
    Journal(path.parent).read()


def _lock(path: Path) -> None:
    held_by(path)
    with hold_one({"it": path}, Holder("a test")):
        assert held_by(path) is not None


def _note(path: Path) -> None:
    with hold_one({"it": path.with_suffix(".lock")}, Holder("a test")):
        who = held_by(path.with_suffix(".lock"))
        assert who is not None
        assert path.is_dir() or who.startswith("a test (process"), "the note is written anew"


def _home(path: Path) -> None:
    os.environ["DAGSTER_HOME"] = str(path.parent)
    enter_home()


def _new_home(path: Path) -> None:
    write_home(path.parent)


def _ui(path: Path) -> None:
    os.chdir(path.parent.parent)
    if (running := read_running()) is not None:
        running.alive()


def _answers(path: Path) -> None:
    with AnswerStore(path) as store:
        store.add({b"key": "text"})
        assert store.texts([b"key"]) == {b"key": "text"}


def _images(path: Path) -> None:
    with VerifiedImages(path) as known:
        known.add({Path("/a.png"): Stamp(1, 2, 3, 4)})
        known.stamps([Path("/a.png")])


# What is tried, the file's name, and what stands there otherwise.
READERS: dict[str, tuple[Callable[[Path], None], str, bytes]] = {
    "digests": (_digests, "digests.json", b'{"/a": [1, 2, "%s"]}' % (b"0" * 64)),
    "journal": (_journal, "journal.json", b'{"facts": {"history": []}, "files": {"a": "0", "/dev/zero": "1"}}'),
    "lock": (_lock, "one.lock", b""),
    "note": (_note, "one.json", b'{"work": "w", "run_id": "", "pid": 1, "host": "h", "since": "s"}'),
    "dagster.yaml": (_home, "dagster.yaml", b"telemetry: {enabled: false}\n"),
    "dagster.yaml of init": (_new_home, "dagster.yaml", b"telemetry: {enabled: false}\n"),
    ".env of init": (_new_home, ".env", b"A=1\n"),
    "the UI": (_ui, "storage/icd_assets_ui.json", b'{"machine":"m","pid":1,"born":"","host":"h","port":1}'),
    "answers": (_answers, "answers.sqlite", b"SQLite format 3\0" + bytes(4080)),
    "images": (_images, "sound_images.sqlite", b"SQLite format 3\0" + bytes(4080)),
}


@pytest.mark.parametrize("name", READERS)
def test_a_reader_goes_on_or_says_so(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, place, sound = READERS[name]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    path = tmp_path / place
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(sound)
    tried = 0
    for kind, put in hostile.in_place_of(path):
        for other in tmp_path.glob(f"{path.stem}*-*"):  # SQLite's own, of the database before
            other.unlink()
        put()
        tried += 1
        try:
            read(path)
        except UserError as error:
            assert path.name in str(error), kind
            str(error).encode()
        if kind == "folder with a file":
            assert (path / "mine.txt").read_text(encoding="utf-8") == "mine"
        monkeypatch.chdir(tmp_path)
    assert tried > 30
    hostile.clear(path)
