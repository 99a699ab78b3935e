"""Whatever the dry run of ``adopt`` says of a folder, the real run does, and leaves nothing half-written."""

from __future__ import annotations

import ctypes
import errno
import importlib
import json
import math
import os
import re
import shutil
import traceback
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import torch

from icd_assets.errors import UserError
from icd_assets.lever_plus import adopt
from icd_assets.lever_plus.adopt import Finding
from icd_assets.lever_plus.verify import VERIFY
from icd_assets.store.room import require_room
from icd_assets.store.store import Store
from icd_assets_tests.worlds.adoptable import ASSETS, KEY, Adoptable, adoptable

Damage = Callable[[Adoptable], object]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Adoptable:
    return adoptable(tmp_path_factory.mktemp("adoptable") / "work")


@pytest.fixture
def place(pristine: Adoptable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Adoptable:
    """Its results to damage, its dataset to share."""
    monkeypatch.setattr(os, "fsync", lambda _: None)  # no power is cut here
    shutil.copy(pristine.folder / "catalog.yaml", tmp_path / "catalog.yaml")
    shutil.copytree(pristine.root, tmp_path / "results")
    return Adoptable(tmp_path)


# ---- the property ------------------------------------------------------------------------------------

Ended = list[Finding] | str  # what was found, or the sentence that ended the run


def ended(place: Adoptable, *, dry_run: bool) -> Ended:
    found: list[Finding] = []
    try:
        found.extend(place.adoption(dry_run=dry_run).run())
    except UserError as error:
        return f"after {len(found)}: {error}"
    return found


def users_files(place: Adoptable) -> dict[Path, bytes | str]:
    """The first bytes of every file but the store's own; of a link where it leads."""
    found: dict[Path, bytes | str] = {}
    for path in place.root.rglob("*"):
        if ".icd_assets" in path.parts or ".manifest.json" in path.name:
            continue
        if path.is_symlink():
            found[path] = str(path.readlink())
        elif path.is_file():
            with path.open("rb") as file:
                found[path] = file.read(1 << 16)
    return found


def left_behind(place: Adoptable) -> set[str]:
    """What only a writer at work, or one that was killed, has."""
    every = [path for path in place.root.rglob("*") if path.name.endswith((".pending", ".previous", ".tmp"))]
    staging = place.root / ".icd_assets/staging"
    return {path.name for path in [*every, *(staging.iterdir() if staging.is_dir() else ())]}


def require_same(place: Adoptable) -> Ended:
    """The dry run and the real run of one folder agree, and what was adopted is there to be used."""
    before, torn = users_files(place), left_behind(place)
    dry = ended(place, dry_run=True)
    assert users_files(place) == before
    assert left_behind(place) == torn
    real = ended(place, dry_run=False)
    assert dry == real
    assert {path: content for path, content in users_files(place).items() if path in before} == before
    assert left_behind(place) <= torn
    if isinstance(real, str):
        return real
    manifests = {m.spec.asset: m for _, _, m in place.adoption(dry_run=True).adopted("d0")}
    for one in real:
        assert one.why.isprintable() or one.outcome != "refused"
        assert one.outcome != "adopted" or Store(place.root).files(manifests[str(one.asset)])
    assert not [one for one in place.found(dry_run=True) if one.outcome == "adopted"]  # once is enough
    return real


def only(place: Adoptable, *assets: str) -> None:
    """Remove what a test does not look at."""
    kept = {path for asset in assets for path in files_of(place, asset)}
    for path in place.root.rglob("*"):
        if path.is_file() and path not in kept:
            path.unlink()


def files_of(place: Adoptable, asset: str) -> list[Path]:
    paths = place.experiment.paths
    return {
        "candidate_pools": [paths.train_pools, paths.anchors],
        "beam_data": [paths.beam_data],
        "v2_checkpoint": [paths.v2_checkpoint],
        "embeddings": [paths.query_embeddings, paths.candidate_embeddings],
        "rl_data": [paths.rl_data],
        "rce_checkpoints": [paths.epoch_checkpoint("rce", epoch) for epoch in (1, 2)],
        "grpo_checkpoints": [paths.epoch_checkpoint("grpo", epoch) for epoch in (1, 2)],
    }[asset]


def outcome(found: Ended, asset: str) -> tuple[str, str]:
    """What became of it and why; of several findings the last."""
    assert not isinstance(found, str), found
    return [(one.outcome, one.why) for one in found if one.asset == asset][-1]


def test_a_sound_folder(place: Adoptable) -> None:
    found = require_same(place)
    assert {one.asset for one in found if isinstance(one, Finding)} == set(ASSETS)
    assert all(outcome(found, asset)[0] == "adopted" for asset in ASSETS)


# ---- what stands in the way --------------------------------------------------------------------------


def folder(path: Path) -> None:
    path.mkdir()
    (path / "somebodys").write_text("x", encoding="utf-8")


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def to_nowhere(path: Path) -> None:
    path.symlink_to("nowhere")


def text(path: Path) -> None:
    path.write_text("{}", encoding="utf-8")


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(10 << 30)


def manifest(place: Adoptable) -> Path:
    return place.experiment.manifest_path("rl_data")


PLACES: Mapping[str, Callable[[Adoptable], Path]] = {
    "file": lambda place: files_of(place, "rl_data")[0],
    "manifest": manifest,
    "pending": lambda place: manifest(place).with_name(manifest(place).name + ".pending"),
    "previous": lambda place: manifest(place).with_name(manifest(place).name + ".previous"),
    "lock": lambda place: place.experiment.store._lock_file(manifest(place)),
    **{
        inside: lambda place, inside=inside: place.root / ".icd_assets" / inside  # type: ignore[misc]
        for inside in ("", "staging", "locks", "history", "history/rl_data", "moving.lock", "datasets")
    },
}
# Of what stands in the way the store may remove what nobody can miss, and does without a cache.
HARMLESS = {
    *((where, kind) for where in ("lock", "moving.lock") for kind in (os.mkfifo, loop, to_nowhere, text, sparse)),
    *(("datasets", kind) for kind in (folder, os.mkfifo, loop, to_nowhere, text, sparse)),
    *((where, folder) for where in ("file", "", "staging", "locks", "history", "history/rl_data")),
    *((where, to_nowhere) for where in ("manifest", "pending", "previous")),
}


@pytest.mark.parametrize(
    "kind", [folder, os.mkfifo, loop, to_nowhere, text, sparse], ids=lambda kind: kind.__name__
)
@pytest.mark.parametrize("where", PLACES)
def test_in_the_place_of_what_is_written(place: Adoptable, where: str, kind: Callable[[Path], None]) -> None:
    only(place, "rl_data")
    path = PLACES[where](place)
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    kind(path)
    found = require_same(place)
    assert not isinstance(found, str)
    refused = [one for one in found if one.outcome == "refused"]
    assert bool(refused) == ((where, kind) not in HARMLESS), found


def without_privileges(act: Callable[[], None]) -> None:
    """``act`` in a process that, root's or not, writes only where the permissions say so."""
    reading, writing = os.pipe()
    if (pid := os.fork()) == 0:
        try:
            header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
            if os.geteuid() == 0:
                assert ctypes.CDLL(None).capset(header, none) == 0
            act()
        except BaseException:  # noqa: BLE001 - the parent raises it
            os.write(writing, traceback.format_exc().encode()[-4000:])
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        said = file.read().decode()
    os.waitpid(pid, 0)
    assert not said, said


@pytest.mark.parametrize(
    "inside", ["d0/generated_data", ".icd_assets", ".icd_assets/locks", ".icd_assets/history"]
)
def test_a_folder_that_may_not_be_written(place: Adoptable, inside: str) -> None:
    only(place, "rl_data", "rce_checkpoints")
    closed = place.root / inside
    closed.mkdir(parents=True, exist_ok=True)
    closed.chmod(0o555)

    def look() -> None:
        found = require_same(place)
        word, why = outcome(found, "rl_data")
        assert word == "refused"
        assert "may not be written" in why
        assert outcome(found, "rce_checkpoints")[0] == ("adopted" if inside.startswith("d0") else "refused")

    without_privileges(look)


# ---- what files hold ---------------------------------------------------------------------------------


def edited(asset: str, change: Callable[[dict[str, Any]], object]) -> Damage:
    def damage(place: Adoptable) -> None:
        only(place, asset)
        path = files_of(place, asset)[0]
        content = json.loads(path.read_text(encoding="utf-8"))
        change(content)
        path.write_text(json.dumps(content), encoding="utf-8")

    return damage


def pickled(asset: str, change: Callable[[dict[str, Any]], object]) -> Damage:
    def damage(place: Adoptable) -> None:
        only(place, asset)
        path = files_of(place, asset)[0]
        content = torch.load(path, weights_only=True)
        change(content)
        torch.save(content, path)

    return damage


def setting(value: object, *steps: str | int) -> Callable[[Any], None]:
    """In JSON or a pickle: ``value`` in the place to which ``steps`` lead."""

    def change(content: Any) -> None:
        for step in steps[:-1]:
            content = content[step]
        content[steps[-1]] = value

    return change


ODD: Mapping[str, Any] = {
    "half a character": "\ud800",
    "NUL": "\0",
    "escape codes": "\x1b[2J\n",
    "long": "x" * 200_000,
    "huge": 10**400,
    "infinite": math.inf,
    "NaN": math.nan,
    "largest": 1.7e308,
    "deep": json.loads("[" * 60 + "]" * 60),
    "climbing": "../../x",
    "no date": "9999-99-99T99:99:99+99:99",
}
HELD: Mapping[str, Damage] = {
    f"{where}: {name}": damage
    for name, value in ODD.items()
    for where, damage in {
        "pools": edited("candidate_pools", setting(value, "0")),
        "beams": edited("beam_data", setting([value], "0", "score_list")),
        "meta": edited("rl_data", setting(value, "_meta", "created_at")),
        "name in meta": edited("rl_data", setting(1, "_meta", str(value) if value != ODD["huge"] else "huge")),
        "model": edited("rl_data", setting(value, "_meta", "vqa_model")),
        "score": edited("rl_data", setting(value, "0", "pointer_candidates", 0, "vqa_acc_score")),
        "answer": edited("rl_data", setting(value, "0", "pointer_candidates", 0, "vqa_pred_answer")),
        "metric": pickled("rce_checkpoints", setting(value, "metrics", "val_loss")),
        "name of a metric": pickled(
            "rce_checkpoints", setting(1.0, "metrics", str(value)[:300] if value != ODD["huge"] else 7)
        ),
        "epoch": pickled("rce_checkpoints", setting(value, "epoch")),
    }.items()
}
WRITTEN = ("meta", "name in meta", "name of a metric")  # what goes into a manifest, unless it cannot be read


@pytest.mark.parametrize("case", HELD)
def test_odd_content(place: Adoptable, case: str) -> None:
    HELD[case](place)
    found = require_same(place)
    assert not isinstance(found, str)


@pytest.mark.parametrize("asset", ASSETS)
@pytest.mark.parametrize("size", [0, 1, 100])
def test_cut_files(place: Adoptable, asset: str, size: int) -> None:
    only(place, asset)
    os.truncate(files_of(place, asset)[0], size)
    assert outcome(require_same(place), asset)[0] == "refused"


def test_more_facts_than_a_manifest_holds(place: Adoptable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("icd_assets.store.store.MANIFEST_BYTES", 1000)
    only(place, "rl_data")
    word, why = outcome(require_same(place), "rl_data")
    assert word == "refused"
    assert "cannot be written (it would have" in why


# ---- names -------------------------------------------------------------------------------------------


def test_names_that_are_not_utf8(place: Adoptable) -> None:
    only(place, "v2_checkpoint", "rl_data")
    path = files_of(place, "v2_checkpoint")[0]
    path.rename(path.with_name(path.name.replace("_best", os.fsdecode(b"\xff\x1b"))))
    found = require_same(place)
    assert outcome(found, "rl_data")[0] == "adopted"
    assert [one.why for one in found if one.outcome == "refused"] == [  # type: ignore[union-attr]
        "its name is not UTF-8, as a manifest has to be; rename it"
    ]


@pytest.mark.parametrize("length", [254, 255])
def test_the_longest_names(place: Adoptable, length: int) -> None:
    only(place, "v2_checkpoint")
    (path,) = files_of(place, "v2_checkpoint")
    name = path.name.removesuffix("_best.ckpt")
    path.rename(path.with_name(name + "x" * (length - len(name) - 5) + ".ckpt"))
    assert outcome(require_same(place), "v2_checkpoint")[0] == "adopted"


@pytest.mark.parametrize(("length", "fits"), [(4050, True), (4070, False), (4095, False)])
def test_a_path_too_long_for_what_lies_beside_it(tmp_path: Path, length: int, fits: bool) -> None:
    path = tmp_path
    while (left := length - len(str(path))) > 0:
        path /= "x" * (left - 1 if left < 200 else 150)
    assert len(str(path)) == length
    try:
        require_room([path])
    except UserError as error:
        assert "a name too long for the disk" in str(error)
        assert not fits
    else:
        assert fits


@pytest.mark.parametrize("tail", ["\n", "\x1b[2J", os.fsdecode(b"\xff"), "x" * 200, "..", "_h1_s1_\x1b"])
def test_names_of_a_folder_of_epochs(place: Adoptable, tail: str) -> None:
    only(place, "rce_checkpoints")
    path = place.experiment.paths.v3_folder
    path.rename(path.with_name(f"{path.name}_{tail}"))
    require_same(place)


def test_an_epoch_has_one_name(place: Adoptable) -> None:
    """``\\d`` is also an Arabic digit: two files would be one epoch."""
    only(place, "rce_checkpoints")
    _, second = files_of(place, "rce_checkpoints")
    shutil.copy(second, second.with_name("rce_epoch\N{ARABIC-INDIC DIGIT TWO}.pt"))
    shutil.copy(second, second.with_name("RCE_EPOCH2.PT"))
    found = require_same(place)
    assert outcome(found, "rce_checkpoints") == ("adopted", "epochs up to 2")
    assert sum(one.outcome == "left" for one in found if isinstance(one, Finding)) == 2


def test_links_and_a_root_in_the_root(place: Adoptable) -> None:
    only(place, "rl_data")
    (path,) = files_of(place, "rl_data")
    path.rename(place.root / "elsewhere.json")
    path.symlink_to(place.root / "elsewhere.json")
    shutil.copytree(place.root, place.folder / "copy", symlinks=True)
    (place.folder / "copy").rename(place.root / "d0/results")
    (place.root / "again").symlink_to("d0")
    assert outcome(require_same(place), "rl_data")[0] == "adopted"


# ---- shards ------------------------------------------------------------------------------------------


def sharded(place: Adoptable) -> Path:
    """The place of the whole file, of which two ranks left their parts."""
    only(place, "beam_data")
    (path,) = files_of(place, "beam_data")
    content = json.loads(path.read_text(encoding="utf-8"))
    (path.parent / "sub_proc_data").mkdir()
    for rank, rows in enumerate(((0, 1), (2, 3))):
        part = path.parent / f"sub_proc_data/{path.stem}_rank:{rank}_({rows[0]}, {rows[1] + 1}).json"
        part.write_text(json.dumps({str(row): content[str(row)] for row in rows}), encoding="utf-8")
    path.unlink()
    return path


@pytest.mark.parametrize("kind", [folder, os.mkfifo, to_nowhere], ids=lambda kind: kind.__name__)
def test_the_place_of_a_file_put_together_is_the_users(place: Adoptable, kind: Callable[[Path], None]) -> None:
    path = sharded(place)
    kind(path)
    assert outcome(require_same(place), "beam_data")[0] == "adopted"
    assert (path.parent / "icd_assets" / path.name).is_file()


def test_the_place_beside_the_users_is_taken(place: Adoptable) -> None:
    path = sharded(place)
    folder(path)
    text(path.parent / "icd_assets")
    word, why = outcome(require_same(place), "beam_data")
    assert word == "refused"
    assert "icd_assets is a file, not a folder" in why


# ---- changes between and meanwhile -------------------------------------------------------------------

CHANGES: Mapping[str, Callable[[Path], object]] = {
    "removed": Path.unlink,
    "replaced": lambda path: path.write_bytes(b"{}"),
    "cut": lambda path: os.truncate(path, 10),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "not to be read": lambda path: (path.unlink(), loop(path)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_after_the_dry_run(place: Adoptable, change: str) -> None:
    only(place, "rl_data", "rce_checkpoints")
    dry = place.found(dry_run=True)
    CHANGES[change](files_of(place, "rl_data")[0])
    real = place.found(dry_run=False)
    assert outcome(dry, "rl_data")[0] == "adopted"
    assert "rl_data" not in {one.asset for one in real if one.outcome == "adopted"}
    assert outcome(real, "rce_checkpoints")[0] == "adopted"
    assert not left_behind(place)
    assert not manifest(place).exists()


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("change", CHANGES)
def test_changed_while_it_is_read(
    place: Adoptable, change: str, dry_run: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is recorded is what was verified."""
    only(place, "rl_data", "rce_checkpoints")

    def then_changed(*words: Any) -> Any:
        verified = VERIFY["rl_data"](*words)
        CHANGES[change](files_of(place, "rl_data")[0])
        return verified

    monkeypatch.setattr(adopt, "VERIFY", {**VERIFY, "rl_data": then_changed})
    found = place.found(dry_run=dry_run)
    word, why = outcome(found, "rl_data")
    assert word == "refused"
    assert "was changed while it was read; adopt again when nothing writes it" in why
    assert outcome(found, "rce_checkpoints")[0] == "adopted"
    assert not left_behind(place)
    assert not manifest(place).exists()


@pytest.mark.parametrize("change", CHANGES)
def test_adopted_before_and_changed_since(place: Adoptable, change: str) -> None:
    only(place, "rl_data", "rce_checkpoints")
    place.found(dry_run=False)
    was = manifest(place).read_bytes()
    CHANGES[change](files_of(place, "rl_data")[0])
    assert outcome(require_same(place), "rce_checkpoints")[0] == "already"
    assert manifest(place).read_bytes() == was


@pytest.mark.parametrize(
    ("code", "where"),
    [(errno.ENOSPC, "results"), (errno.EFBIG, ""), (errno.EFBIG, "elsewhere"), (errno.EACCES, "")],
)
def test_a_fault_of_the_machine_is_none_of_a_file(
    place: Adoptable, code: int, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError(code, os.strerror(code), *([str(place.folder / where)] if where else []))

    only(place, "rl_data")
    monkeypatch.setattr(adopt, "VERIFY", {**VERIFY, "rl_data": fails})
    with pytest.raises(OSError, match=re.escape(os.strerror(code))):
        place.found(dry_run=False)


@pytest.mark.parametrize("field", [{"files": []}, {"facts": {}}, {"facts": {"history": 5}}])
def test_a_manifest_changed_by_hand_keeps_no_other_from_the_records(
    place: Adoptable, field: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    only(place, "rl_data", "rce_checkpoints")
    place.found(dry_run=False)
    path = place.experiment.manifest_path("rce_checkpoints")
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | field), encoding="utf-8")
    command = importlib.import_module("icd_assets.cli.adopt")
    with dg.DagsterInstance.ephemeral() as home:
        monkeypatch.setattr(command, "open_instance", lambda: nullcontext(home))
        command._record(place.adoption(dry_run=False))
        assert home.get_materialized_partitions(dg.AssetKey("rl_data")) == {KEY}
        assert not home.get_materialized_partitions(dg.AssetKey("rce_checkpoints"))
    assert "does not say what ours say; delete it and adopt again" in capsys.readouterr().err
