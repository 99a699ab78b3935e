"""Our own caches, notes and records, and the home: what is a cache is made again."""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import torch

from icd_assets.assets.tracked import _id
from icd_assets.cli.report import _current
from icd_assets.cli.ui import _read as read_running
from icd_assets.datasets.columns import read_table, table_of, write_table
from icd_assets.datasets.verified_images import Stamp, VerifiedImages
from icd_assets.defs.executors.choice import executor
from icd_assets.defs.runs.instance import enter_home
from icd_assets.defs.runs.instance_checks import _readable
from icd_assets.defs.runs.unrecorded import _rows
from icd_assets.demo.dataset import _require_draw
from icd_assets.errors import UserError
from icd_assets.evaluation.earlier import earlier, keep
from icd_assets.experiment.checks.scans import Scans
from icd_assets.experiment.checks.texts import _kept
from icd_assets.experiment.misspelt_variables import known_variables
from icd_assets.remote.place import Place
from icd_assets.remote.shared_answers import SharedAnswers
from icd_assets.report.sides import _manifest as _manifest_of
from icd_assets.runtime.disk_errors import _fixed
from icd_assets.runtime.home import load_env_file
from icd_assets.runtime.locks import Holder, held_by, hold_one
from icd_assets.runtime.new_home import write_home
from icd_assets.store.digests import DigestCache, sha256_json
from icd_assets.store.journal import Journal
from icd_assets.store.manifest import Manifest, read_manifest
from icd_assets.store.ownership import Ownership
from icd_assets.store.store import Store, _content
from icd_assets.trackers.stored_keys import _read as _read_keys
from icd_assets.trackers.stored_keys import stored_keys
from icd_assets.upkeep.doctor.databases import databases, half_written
from icd_assets.vlm.answer_store import AnswerStore
from icd_assets.vlm.kept_features import KeptFeatures
from icd_assets_tests.fuzz.targets import manifest as manifest_target
from icd_assets_tests.readers import Reader, as_a_command

_OF_NO_MODEL = sha256_json([])[:16]


def _digests(path: Path) -> None:
    file = path.with_name("hashed")
    file.write_bytes(b"hashed")
    digest = hashlib.sha256(b"hashed").hexdigest()
    assert DigestCache(path).file(file) == digest
    if not path.is_dir():
        assert DigestCache(path)._read()[str(file)][2] == digest, "it is made again"


def _features(path: Path) -> None:
    found = KeptFeatures(path.parents[1], []).get(path.name)
    assert found is None or found["a"].tolist() == [1.0, 2.0], "what is damaged is as if it were not there"


def _write_features(path: Path) -> None:
    kept = KeptFeatures(path.parents[1], [])
    assert kept.put("0f", {"a": torch.tensor([1.0, 2.0])})
    (kept._own / "0f").rename(path)


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


def _executor(path: Path) -> None:
    os.environ |= {"ICD_EXECUTOR": "in_process", "ICD_EXECUTOR_CONFIG": str(path)}
    executor()


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


def _write_answers(path: Path) -> None:
    with AnswerStore(path) as store:
        store.add({b"0": "another"})


def _write_images(path: Path) -> None:
    with VerifiedImages(path) as known:
        known.add({Path("/b.png"): Stamp(1, 2, 3, 4)})


def _write_shared(path: Path) -> None:
    with closing(sqlite3.connect(path)) as known, known:
        known.execute("CREATE TABLE IF NOT EXISTS files (sha256 TEXT PRIMARY KEY, merged INTEGER)")
        known.execute("CREATE TABLE IF NOT EXISTS keys (key BLOB PRIMARY KEY) WITHOUT ROWID")


def _tracked(path: Path) -> None:
    assert re.fullmatch("[0-9a-f]{32}", _id(path.parent))


def _report(path: Path) -> None:
    found = SimpleNamespace(manifest=lambda asset: SimpleNamespace(data_version="0f"))
    _current(cast(Any, found), path)


_RECORDS = [(1, 2, "?", "a", ("a",), "", "other")]


def _write_columns(path: Path) -> None:
    write_table(path, table_of(_RECORDS), "key", "0f")


def _columns(path: Path) -> None:
    found = read_table(path, "key")
    assert found is None or found[0].num_rows == 1


def _env(path: Path) -> None:
    os.environ["DAGSTER_HOME"] = str(path.parent)
    before = dict(os.environ)
    try:
        load_env_file()
    finally:
        os.environ.clear()
        os.environ.update(before)


def _variables(path: Path) -> None:
    known_variables({"ICD_CATALOG": str(path)})


def _leaderboard(path: Path) -> None:
    _rows(cast(Any, SimpleNamespace(store=SimpleNamespace(root=path.parent))))


def _draw(path: Path) -> None:
    _require_draw(7, "DEMO_PATH", cast(Any, SimpleNamespace(questions=path, annotations=path)))


def _scans(path: Path) -> None:
    scans = Scans(path)
    assert scans.value(["a"], lambda: 3) == 3
    list(scans.findings(["b"], list))


def _texts(path: Path) -> None:
    found = _kept(path, "0f")
    assert found is None or found.questions >= 0


def _history(path: Path) -> None:
    half_written(path.parent)
    list(databases("history", [path], "restore it"))


def _instance(path: Path) -> None:
    list(_readable(path))


def _shared(path: Path) -> None:
    store = Store(path.parents[2])
    with AnswerStore(store.answers) as answers:
        answers.add({b"k" * 32: "text"})
    place = path.parents[3] / "there"
    place.mkdir(exist_ok=True)
    shared = SharedAnswers(store, Place.open(str(place)))
    real, shared._known = shared._known, path
    assert real.suffix == path.suffix
    shared.push()
    shared.pull()


def _manifest() -> bytes:
    return next(iter(manifest_target.seeds()))


def _owned(path: Path) -> None:
    store = Store(path.parent)
    Ownership(store.root, store.history, store.digests).wrote(path.with_name("b"), "d0/cache/a.json", "0" * 64)
    try:
        _content(path)
    except OSError:
        return  # who asks keeps the file
    if (manifest := store.read(path)) is not None:
        store._remember(path, manifest)


def _write_evaluation(path: Path) -> None:
    (path.parent / "predictions.parquet").write_bytes(b"predictions")
    path.write_bytes(b"{}")


def _keep(path: Path) -> None:
    """The files of an evaluation that is about to be replaced, of which nothing is recorded."""
    made = Manifest.model_validate_json(_manifest())
    manifest = made.model_copy(update={"files": []})
    try:
        keep(path.parent / "kept", manifest, path.parent)
    except OSError as error:
        assert error.filename is not None or error.strerror  # the command's exit puts it into words


def _earlier(path: Path) -> None:
    earlier(path.parents[2])
    try:
        read_manifest(path)
    except (OSError, ValueError):
        return


_JSON_OF_TEXTS = (
    b'{"key": "0f", "questions": 1, "tokens": ["<s>"], "question_id": 3, "field": "question", "token": "<s>", '
    b'"text": "?"}'
)


def _record(path: Path) -> None:
    _manifest_of(path.parent)


def _keys(path: Path) -> None:
    os.environ["NETRC"] = str(path)
    _read_keys.cache_clear()
    stored_keys()


READERS: dict[str, Reader] = {
    "keys of trackers": Reader(_keys, ".netrc", b"machine h login l password 0123456789\n", cache=True),
    "digests": Reader(_digests, "digests.json", b'{"/a": [1, 2, "%s"]}' % (b"0" * 64), cache=True),
    "features of pictures": Reader(_features, f"{_OF_NO_MODEL}/0f", _write_features, cache=True),
    "journal": Reader(
        _journal,
        "journal.json",
        b'{"facts": {"history": []}, "files": {"a": "0", "/dev/zero": "1"}}',
        cache=True,
    ),
    "lock": Reader(_lock, "one.lock", b""),
    "note": Reader(_note, "one.json", b'{"work": "w", "run_id": "", "pid": 1, "host": "h", "since": "s"}'),
    "dagster.yaml": Reader(_home, "dagster.yaml", b"telemetry: {enabled: false}\n"),
    "dagster.yaml, looked at": Reader(_instance, "dagster.yaml", b"telemetry: {enabled: false}\n", cache=True),
    "settings of an executor": Reader(_executor, "executor.yaml", b"retries: {enabled: {}}\n"),
    "dagster.yaml of init": Reader(_new_home, "dagster.yaml", b"telemetry: {enabled: false}\n"),
    ".env": Reader(_env, ".env", b"A=1\nB=${A}x\n"),
    ".env of init": Reader(_new_home, ".env", b"A=1\n"),
    "variables of a catalog": Reader(_variables, "catalog.yaml", b"a: ${MINE}\n", cache=True),
    "the UI": Reader(
        _ui, "storage/icd_assets_ui.json", b'{"machine":"m","pid":1,"born":"","host":"h","port":1}', cache=True
    ),
    "answers": Reader(_answers, "answers.sqlite", _write_answers),
    "shared answers": Reader(_shared, "results/.icd_assets/remote/0.sqlite", _write_shared),
    "Dagster's database": Reader(_history, "runs.db", _write_shared, cache=True),
    "images": Reader(_images, "sound_images.sqlite", _write_images, cache=True),
    "tracked run": Reader(as_a_command(_tracked), "staging/tracked_run", b"0" * 32),
    "report": Reader(_report, "report.html", b'<meta name="x" content="0f">', cache=True),
    "parsed split": Reader(_columns, "d0-train.arrow", _write_columns, cache=True),
    "leaderboard": Reader(_leaderboard, "leaderboard.json", b'[{"dataset": "d0"}]', cache=True),
    "the demo's draw": Reader(
        _draw, "questions.json", b'{"info": {"description": "another"}}', (UserError, OSError)
    ),
    "checks": Reader(_scans, "checks.json", b'{"0f": [{"subject": "a", "level": "ok", "text": "t"}]}', cache=True),
    "looked-at texts": Reader(_texts, "texts.json", _JSON_OF_TEXTS, cache=True),
    "manifest": Reader(_owned, "a.manifest.json", lambda path: path.write_bytes(_manifest())),
    "earlier evaluation": Reader(
        _earlier,
        "earlier/20260102T030405_0123abcd/manifest.json",
        lambda path: path.write_bytes(_manifest()),
        cache=True,
    ),
    "evaluation to keep": Reader(_keep, "comparison.json", _write_evaluation),
    "record of an evaluation": Reader(_record, "manifest.json", lambda path: path.write_bytes(_manifest())),
    "flags": Reader(_fixed, "a", b"", cache=True),
}
