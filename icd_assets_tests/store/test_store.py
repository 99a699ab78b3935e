"""The artifact contract: a manifest exists if and only if its artifact is complete."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from icd_assets.errors import UserError
from icd_assets.runtime.locks import Holder
from icd_assets.store.digests import DigestCache, sha256_file
from icd_assets.store.journal import Journal
from icd_assets.store.manifest import Input, Manifest, Spec
from icd_assets.store.store import Store
from icd_assets_tests.programs import program


def spec_of(**changes: Any) -> Spec:
    fields: dict[str, Any] = {
        "asset": "rl_data",
        "code_version": "1",
        "config": {"num_beams": 5},
        "inputs": {"vlm": Input(data_version="a1", run_id="run-1")},
    }
    return Spec(**(fields | changes))


FIELDS: dict[str, Any] = {
    "spec": spec_of(),
    "config_digest": "c",
    "facts": {},
    "cell": "demo|RandSampler/tiny_vl",
    "run_id": "run-2",
    "created_at": "2026-01-01T00:00:00+00:00",
    "seconds": 0.1,
    "environment": {},
}


def commit(
    store: Store, path: Path, text: str, made_from: Spec | None = None, name: str = "data.json"
) -> Manifest:
    made_from = made_from or spec_of()
    with store.lock(path), store.staging(path, made_from) as staging:
        (staging / name).write_text(text)
        return store.commit(
            path,
            {path.parent / name: staging / name},
            spec=made_from,
            config_digest="c",
            facts={"rows": 1},
            cell="demo|RandSampler/tiny_vl",
            run_id="run-2",
            created_at="2026-01-01T00:00:00+00:00",
            seconds=0.1,
            environment={},
        )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


@pytest.fixture
def path(store: Store) -> Path:
    return store.root / "demo" / "data.json.manifest.json"


def test_missing_then_fresh(store: Store, path: Path) -> None:
    assert store.stale(path, spec_of()) == "missing"
    manifest = commit(store, path, "one")
    assert store.stale(path, spec_of()) is None
    assert store.read(path) == manifest
    assert store.files(manifest) == [store.root / "demo" / "data.json"]


def test_data_version_is_content_alone(store: Store, path: Path) -> None:
    first = commit(store, path, "one")
    second = commit(store, path, "one", spec_of(config={"num_beams": 6}))
    third = commit(store, path, "two")
    assert first.data_version == second.data_version != third.data_version


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"config": {"num_beams": 6}}, "config changed: num_beams 5 → 6"),
        (
            {"config": {"path": "mine", **{f"k{n}": n for n in range(5)}}},
            "config changed: k0 None → 0, k1 None → 1, k2 None → 2, k3 None → 3 and 3 more",
        ),
        ({"code_version": "2"}, "code version 1 → 2"),
        ({"inputs": {"vlm": Input(data_version="b2")}}, "vlm changed"),
        ({"inputs": {}}, "vlm changed"),
    ],
)
def test_the_reason_names_what_changed(store: Store, path: Path, changed: dict[str, Any], reason: str) -> None:
    commit(store, path, "one")
    assert store.stale(path, spec_of(**changed)) == reason


def test_another_run_of_the_same_input_changes_nothing(store: Store, path: Path) -> None:
    commit(store, path, "one")
    assert store.stale(path, spec_of(inputs={"vlm": Input(data_version="a1", run_id="run-9")})) is None


def test_one_changed_byte_is_noticed(store: Store, path: Path) -> None:
    manifest = commit(store, path, "one")
    data = store.root / "demo" / "data.json"
    data.write_text("onf")
    assert "is no longer what rl_data wrote" in (store.stale(path, spec_of()) or "")
    with pytest.raises(UserError, match=r"data\.json is no longer"):
        store.files(manifest)
    data.unlink()
    assert "is gone" in (store.stale(path, spec_of()) or "")


def tree(folder: Path) -> dict[str, str]:
    """The files under it, the store's own aside."""
    found = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".manifest.json"))
    return {str(path.relative_to(folder)): path.read_text() for path in found if ".icd_assets" not in path.parts}


def test_a_file_of_the_users_stays_and_ours_lies_in_a_folder_beside_it(store: Store, path: Path) -> None:
    data = store.root / "demo" / "data.json"
    data.parent.mkdir(parents=True)
    data.write_text("a year of work")
    before = data.stat()
    commit(store, path, "one")
    assert tree(data.parent) == {"data.json": "a year of work", "icd_assets/data.json": "one"}
    assert store.stale(path, spec_of()) is None
    manifest = commit(store, path, "two")  # our own file is replaced without a copy
    assert tree(data.parent) == {"data.json": "a year of work", "icd_assets/data.json": "two"}
    assert store.files(manifest) == [data.parent / "icd_assets" / "data.json"]
    assert (data.stat().st_mtime_ns, data.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    data.unlink()
    commit(store, path, "three")  # its own place is free again
    assert tree(data.parent) == {"data.json": "three"}


@pytest.mark.parametrize("kind", ["link", "dangling", "folder"])
def test_what_is_no_plain_file_is_the_users_too(store: Store, path: Path, kind: str) -> None:
    data = store.root / "demo" / "data.json"
    data.parent.mkdir(parents=True)
    theirs = store.root / "theirs.json"
    if kind == "folder":
        data.mkdir()
    else:
        if kind == "link":
            theirs.write_text("a year of work")
        data.symlink_to(theirs)
    commit(store, path, "one")
    assert (data.is_dir(), data.is_symlink()) == (kind == "folder", kind != "folder")
    assert (data.parent / "icd_assets" / "data.json").read_text() == "one"
    assert kind != "link" or theirs.read_text() == "a year of work"


def test_a_file_of_ours_that_was_changed_is_moved_aside(store: Store, path: Path) -> None:
    data = store.root / "demo" / "data.json"
    commit(store, path, "one")
    data.write_text("changed by hand")
    commit(store, path, "two")
    assert data.read_text() == "two"
    assert [p.read_text() for p in data.parent.glob("data.json.kept-*")] == ["changed by hand"]


def test_what_is_left_of_an_artifact_without_a_manifest_is_ours(store: Store, path: Path) -> None:
    """The user deleted the manifest to have it made again; the history knows the file."""
    commit(store, path, "one")
    path.unlink()
    commit(store, path, "two")
    assert tree(store.root / "demo") == {"data.json": "two"}


def test_files_the_new_artifact_no_longer_has_are_removed(store: Store, path: Path) -> None:
    commit(store, path, "epoch 5", name="rce_epoch5.pt")
    commit(store, path, "epoch 3", spec_of(config={}), name="rce_epoch3.pt")
    assert sorted(p.name for p in path.parent.iterdir()) == [path.name, "rce_epoch3.pt"]


def test_an_imported_file_is_never_touched(store: Store, path: Path) -> None:
    mine = path.parent / "mine.json"
    mine.parent.mkdir(parents=True)
    mine.write_text("a year of work")
    fields = {
        "spec": spec_of(config={"source": "import"}),
        "config_digest": "c",
        "facts": {},
        "cell": "c",
        "run_id": "r",
        "created_at": "2026-01-02T03:04:05+00:00",
        "seconds": 0.0,
        "environment": {},
    }
    store.commit(path, {mine: mine}, origin="imported", **fields)
    commit(store, path, "trained instead")
    assert mine.read_text() == "a year of work"
    store.commit(path, {mine: mine}, origin="imported", **fields)
    commit(store, path, "beside it", name="mine.json")
    assert mine.read_text() == "a year of work"
    assert (path.parent / "icd_assets" / "mine.json").read_text() == "beside it"


def test_an_adopted_file_that_was_changed_is_the_users_to_decide(store: Store, path: Path) -> None:
    theirs = path.parent / "theirs.json"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("a year of work")
    unknown = spec_of(code_version="unknown", config={}, inputs={})
    fields = {
        "spec": unknown,
        "config_digest": "c",
        "facts": {},
        "cell": "c",
        "run_id": None,
        "created_at": "2026-01-02T03:04:05+00:00",
    }
    fields |= {"seconds": 0.0, "environment": {}, "origin": "adopted", "unknown": ["config", "code"]}
    manifest = store.commit(path, {theirs: theirs}, **fields)
    assert store.stale(path, unknown) is None
    theirs.write_text("a year of w0rk")
    assert "was changed after it was adopted; adopt it again" in (store.stale(path, unknown) or "")
    with pytest.raises(UserError, match=r"or make a new one with --force rl_data\."):
        store.files(manifest)
    commit(store, path, "made instead", name="theirs.json")
    assert theirs.read_text() == "a year of w0rk"
    theirs.unlink()
    assert store.altered(manifest) is None  # gone is not changed: it is made anew


@pytest.mark.parametrize("content", [b"", b'{"want": {"asset"', b"[]", b'{"files": []}', b"\xff\xfe\x00"])
def test_a_broken_manifest_is_one_sentence(store: Store, path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"is not a manifest of icd_assets .*; move it away"):
        store.read(path)


def test_require_names_the_asset(store: Store, path: Path) -> None:
    with pytest.raises(UserError, match="materialize rl_data first"):
        store.require(path, "rl_data")


@pytest.mark.parametrize(
    ("killed_at", "recovered"),
    [
        ("data.json.manifest.json.pending", "one"),
        ("data.json.manifest.json.previous", "two"),
        ("data.json", "two"),
        ("data.json.manifest.json", "two"),
    ],
)
def test_killed_at_any_point_of_a_commit(store: Store, path: Path, killed_at: str, recovered: str) -> None:
    commit(store, path, "one")
    arguments = program("killed_commit", str(store.root), str(path), killed_at)
    died = subprocess.run(arguments, env={**os.environ, "PYTHONPATH": str(Path.cwd())}, timeout=60)
    assert died.returncode == -signal.SIGKILL
    after = Store(store.root)
    with after.lock(path):
        after.recover(path)
    manifest = after.read(path)
    assert manifest is not None
    assert after.files(manifest)[0].read_text() == recovered
    assert not list(path.parent.glob("*.pending"))
    commit(after, path, "three")
    assert not list(path.parent.glob("*.kept-*"))  # our own half-made files are not taken for the user's


def _share(root: Path, sampler: str, anchors: str | None = "[1, 2]") -> Path:
    """Commit an artifact that has a file of its own and one that all samplers have."""
    store, folder = Store(root), root / "demo" / "cache"
    path, made_from = folder / f"{sampler}.json.manifest.json", spec_of(config={"sampler": sampler})
    with store.lock(path):
        store.recover(path)
        with store.staging(path, made_from) as staging:
            files = {f"{sampler}.json": sampler} | ({"anchors.json": anchors} if anchors is not None else {})
            for name, text in files.items():
                (staging / name).write_text(text)
            store.commit(path, {folder / name: staging / name for name in files}, **FIELDS | {"spec": made_from})
    return path


def test_a_file_of_several_artifacts_is_written_once_and_stays_as_long_as_one_has_it(tmp_path: Path) -> None:
    first, second = _share(tmp_path, "one"), _share(tmp_path, "two")
    store = Store(tmp_path)
    assert sorted(path.name for path in first.parent.glob("anchors*")) == ["anchors.json"]
    _share(tmp_path, "one", anchors=None)
    there = store.read(second)
    assert there is not None
    assert store.damage(there) is None
    _share(tmp_path, "two", anchors=None)
    assert not list(first.parent.glob("anchors*"))


def test_a_lock_is_the_same_however_the_results_root_is_spelled(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "link").symlink_to("results")
    roots = (tmp_path / "results", tmp_path / "link", tmp_path / "link" / ".." / "results")
    stores = [Store(root) for root in roots]
    with stores[0].lock(roots[0] / "demo" / "a.manifest.json"):
        assert all(
            store.writer(root / "demo" / "a.manifest.json") for store, root in zip(stores, roots, strict=True)
        )


def test_a_file_stays_whose_other_owner_is_just_being_published(tmp_path: Path) -> None:
    first = _share(tmp_path, "one")
    (first.parent / "two.json.manifest.json.pending").symlink_to("renamed meanwhile")
    _share(tmp_path, "one", anchors=None)
    assert [path.name for path in first.parent.glob("anchors*")] == ["anchors.json"]


def test_a_file_stays_that_a_copy_of_a_manifest_names(tmp_path: Path) -> None:
    first = _share(tmp_path, "one")
    shutil.copy(first, first.with_name("mine.manifest.json.bak"))
    _share(tmp_path, "one", anchors=None)
    assert [path.name for path in first.parent.glob("anchors*")] == ["anchors.json"]


def _shares(root: Path, sampler: str, start: Any, failed: Any) -> None:
    start.wait()
    try:
        _share(root, sampler)
    except BaseException as error:  # noqa: BLE001 — reported to the test
        failed.put(repr(error))


def test_several_artifacts_commit_a_shared_file_at_once(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    for number in range(30):
        root, start, failed = tmp_path / str(number), fork.Barrier(3), fork.SimpleQueue()
        (root / "demo" / "cache").mkdir(parents=True)
        (root / "demo" / "cache" / "anchors.json").write_text("the user's")
        makers = [fork.Process(target=_shares, args=(root, name, start, failed)) for name in ("a", "b", "c")]
        for maker in makers:
            maker.start()
        for maker in makers:
            maker.join()
        assert failed.empty(), failed.get()
        assert (root / "demo/cache/anchors.json").read_text() == "the user's"
        ours = sorted(path.name for path in (root / "demo/cache/icd_assets").iterdir())
        assert ours == ["a.json", "anchors.json", "b.json", "c.json"]


def test_equal_files_half_moved_are_both_found(store: Store, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = store._staging_folder(path, spec_of())
    finals = [path.parent / name for name in ("query.pt", "candidate.pt")]
    original = Path.replace

    def interrupted(self: Path, target: Path) -> Path:
        if Path(target).name == "candidate.pt":
            raise KeyboardInterrupt
        return original(self, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt), store.lock(path), store.staging(path, spec_of()) as staging:
        for final in finals:
            (staging / final.name).write_text("equal")
        store.commit(path, {final: staging / final.name for final in finals}, **FIELDS)
    monkeypatch.undo()
    assert [file.read_text() for file in finals if file.exists()] == ["equal"]
    with store.lock(path):
        store.recover(path)
    manifest = store.read(path)
    assert manifest is not None
    assert store.files(manifest) == finals
    assert not folder.exists()


def test_an_interrupted_want_finds_its_journal_again_and_no_other_does(store: Store, path: Path) -> None:
    def staged(made_from: Spec, *, afresh: bool = False) -> list[str]:
        """What is there at the start; then it is interrupted."""
        interrupted = pytest.raises(KeyboardInterrupt)
        with interrupted, store.lock(path), store.staging(path, made_from, afresh=afresh) as staging:
            found = sorted(file.name for file in staging.iterdir())
            (staging / "state.pt").write_text("epoch 3")
            Journal(staging).write({}, [staging / "state.pt"])
            raise KeyboardInterrupt
        return found

    assert staged(spec_of()) == []
    assert staged(spec_of()) == ["journal.json", "state.pt"]
    assert staged(spec_of(), afresh=True) == []
    assert staged(spec_of(config={"num_beams": 6})) == []
    assert len(list((store.private / "staging").iterdir())) == 1  # the other spec's is gone
    assert staged(spec_of()) == []
    commit(store, path, "one")
    assert not list((store.private / "staging").iterdir())


def test_unfinished_files_without_a_journal_are_not_taken_over(store: Store, path: Path) -> None:
    folder = store._staging_folder(path, spec_of())
    folder.mkdir(parents=True)
    (folder / "rl.json").write_text("half")  # as SIGKILL leaves it
    with store.lock(path), store.staging(path, spec_of()) as staging:
        assert list(staging.iterdir()) == []


def test_a_mark_is_found_by_its_cell_and_one_of_all_cells_by_each(store: Store) -> None:
    store.mark_unrecorded("1a-run", "demo|RandSampler/tiny_vl")
    store.mark_unrecorded("2b-run", None)
    assert sorted(store.unrecorded_marks("demo|RandSampler/tiny_vl").values()) == ["1a-run", "2b-run"]
    assert list(store.unrecorded_marks("demo|MixSampler/tiny_vl").values()) == ["2b-run"]


def test_digest_cache_sees_a_change_and_survives_a_broken_file(tmp_path: Path) -> None:
    file, cache = tmp_path / "a", tmp_path / "digests.json"
    file.write_text("x")
    assert DigestCache(cache).file(file) == sha256_file(file)
    os.utime(file, ns=(1, 1))
    file.write_text("y")
    assert DigestCache(cache).file(file) == sha256_file(file)
    for broken in ("", "[1]", '{"a"'):
        cache.write_text(broken)
        assert DigestCache(cache).file(file) == sha256_file(file)


def test_lineage_for_the_inside_of_a_file_has_no_time_and_no_run(store: Store, path: Path) -> None:
    text = json.dumps(spec_of().lineage())
    assert "run-1" not in text
    assert "a1" in text


def test_a_replaced_manifest_is_kept_by_its_data_version(store: Store, path: Path) -> None:
    first, beside = commit(store, path, "one"), path.read_bytes()
    kept = store.history / "rl_data" / f"{first.data_version}-{first.build}.json"
    assert kept.read_bytes() == beside
    kept.unlink()  # as if made before there was a history: replacing it keeps it
    second = commit(store, path, "two")
    assert kept.read_bytes() == beside
    names = {f"{manifest.data_version}-{manifest.build}.json" for manifest in (first, second)}
    assert {p.name for p in store.history.rglob("*.json")} == names


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("path", "../../etc/passwd"),
        ("path", "demo/../../x"),
        ("path", "/etc/passwd"),
        ("path", ""),
        ("manifest", "../x.manifest.json"),
        ("manifest", "/x.manifest.json"),
        ("asset", "../../x"),
        ("data_version", "../../x"),
    ],
)
def test_a_path_that_climbs_out_is_not_followed(store: Store, path: Path, field: str, value: str) -> None:
    commit(store, path, "one")
    content = json.loads(path.read_text(encoding="utf-8"))
    holder = {
        "path": content["files"][0],
        "manifest": content["want"]["inputs"]["vlm"],
        "asset": content["want"],
        "data_version": content,
    }[field]
    holder[field] = value
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UserError, match="is not a manifest of icd_assets"):
        store.read(path)


def test_what_was_pruned_is_not_missed(store: Store, path: Path) -> None:
    commit(store, path, "one")
    content = json.loads(path.read_text(encoding="utf-8"))
    content["files"][0]["pruned"] = "2026-01-02"
    path.write_text(json.dumps(content), encoding="utf-8")
    data = store.root / "demo" / "data.json"
    assert store.stale(path, spec_of()) is None  # marked, and not yet removed
    data.unlink()
    assert store.stale(path, spec_of()) is None
    data.write_text("put back, but another")
    assert "is no longer" in (store.stale(path, spec_of()) or "")


def test_rehash_sees_what_size_and_mtime_hide(tmp_path: Path) -> None:
    file, cache = tmp_path / "a", tmp_path / "digests.json"
    file.write_text("x")
    before = DigestCache(cache).file(file)
    stamp = file.stat().st_mtime_ns
    file.write_text("y")
    os.utime(file, ns=(stamp, stamp))
    assert DigestCache(cache).file(file) == before
    assert DigestCache(cache, rehash=True).file(file) == sha256_file(file)
    assert DigestCache(cache).file(file) == sha256_file(file)  # and from now on everyone knows


def test_an_artifact_names_the_vlms_behind_it(store: Store) -> None:
    def made(name: str, **inputs: Input) -> Input:
        path = store.root / f"{name}.manifest.json"
        manifest = commit(store, path, name, spec_of(asset=name, inputs=inputs), name)
        vlms[name] = manifest.vlm
        return Input(data_version=manifest.data_version, manifest=path.name)

    vlms: dict[str, tuple[str, ...]] = {}
    pools = made("candidate_pools", dataset=Input(data_version="d"))
    beams = made("beam_data", candidate_pools=pools, vlm=Input(data_version="first"))
    v2 = made("v2_checkpoint", beam_data=beams)
    towers = v2.model_copy(update={"data_version": "of the towers alone"})
    embeddings = made("embeddings", **{"v2_checkpoint.encoder": towers})
    rl_data = made("rl_data", v2_checkpoint=v2, embeddings=embeddings, vlm=Input(data_version="second"))
    made("rce_checkpoints", rl_data=rl_data, v2_checkpoint=v2, embeddings=embeddings)
    assert vlms == {
        "candidate_pools": (),
        "beam_data": ("first",),
        "v2_checkpoint": ("first",),
        "embeddings": (),
        "rl_data": ("second", "first"),
        "rce_checkpoints": ("second", "first"),
    }


def test_a_manifest_older_than_its_vlm_still_tells_it(store: Store, path: Path) -> None:
    manifest = commit(store, path, "one")
    old = json.loads(path.read_text())
    assert old.pop("vlm") == ["a1"]
    path.write_text(json.dumps(old))
    assert store.read(path) == manifest.model_copy(update={"vlm": ()})
    assert store.stale(path, spec_of()) is None
    given = Input(data_version=manifest.data_version, manifest=str(path.relative_to(store.root)))
    after = commit(store, path.with_name("next.json"), "two", spec_of(inputs={"rl_data": given}), "two.json")
    assert after.vlm == ("a1",)


def test_the_writer_is_known_while_it_writes(store: Store, path: Path) -> None:
    assert store.writer(path) is None
    with store.lock(path, Holder("rl_data of a cell", "0123456789")):
        assert "rl_data of a cell (process" in (store.writer(path) or "")
        assert "run 01234567" in (store.writer(path) or "")
    assert store.writer(path) is None


def test_what_was_just_written_is_not_hashed_again(store: Store, path: Path, monkeypatch: Any) -> None:
    manifest = commit(store, path, "one")
    monkeypatch.setattr("icd_assets.store.digests.sha256_file", lambda path: pytest.fail(f"{path} was hashed"))
    assert Store(store.root).damage(manifest) is None
