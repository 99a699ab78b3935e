"""verify names what rotted, what is orphaned, what is half-written, and what is the user's."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from icd_assets.pools.features import write_features
from icd_assets.pools.similarity import SamplerFeatures
from icd_assets.vlm.answer_store import AnswerStore
from icd_assets_tests.lineage.test_lineage import RL, V3
from icd_assets_tests.worlds.commands import Run
from icd_assets_tests.worlds.manifests import KEY, World, changed, document


def findings(run: Run, *words: str) -> Any:
    ended = run("verify", "--json", *words)
    found = json.loads(ended.output)
    assert ended.code == (2 if found["rotted"] else 0), ended.error
    return found


@pytest.fixture
def cell(world: World) -> World:
    world.cell()
    return world


def test_all_is_well(cell: World, run: Run) -> None:
    found = findings(run)
    files = [p for p in cell.root.rglob("*") if p.is_file() and ".icd_assets" not in p.parts]
    assert found["files"] == len([p for p in files if not p.name.endswith(".manifest.json")])
    for kind in ("rotted", "orphaned", "unfinished", "kept", "foreign", "working"):
        assert found[kind] == [], kind
    assert "nothing rotted" in run("verify").output


def test_one_byte_behind_any_disguise(cell: World, run: Run) -> None:
    for hidden in (False, True):
        with changed(cell.root / RL, hidden=hidden):
            (line,) = findings(run)["rotted"]
            assert f"{RL} is no longer what rl_data wrote" in line
            assert "ROTTED" in run("verify", KEY).output
            assert run("verify", "d0|MixSampler/m0").code == 0
    (cell.root / RL).unlink()
    (line,) = findings(run)["rotted"]
    assert f"{RL} is gone" in line


def test_what_lies_beside(cell: World, run: Run) -> None:
    folder = cell.root / "d0/generated_data"
    lies = {
        "mine.json": "foreign",
        "rl_data_RandSampler_m0.json.kept-0123abcd": "kept",
        "beams.json.manifest.json.pending": "unfinished",
        "beams.json.manifest.json.previous": "unfinished",
        ".x.json.1-2.tmp": "unfinished",
    }
    for name in lies:
        (folder / name).write_text("x", encoding="utf-8")
    (cell.root / "d0/model_cpk/loose.pt").write_text("x", encoding="utf-8")
    ours = [".icd_assets/staging/rl_data-0-1", ".icd_assets/datasets/.d0-train.arrow.1-2.tmp"]
    for path in ours:
        (cell.root / path).mkdir(parents=True)
    (cell.root / f"{RL}.manifest.json").unlink()
    found = findings(run)
    for name, kind in lies.items():
        assert str(folder / name) in found[kind], name
    assert found["orphaned"] == [str(cell.root / RL)]
    assert str(cell.root / "d0/model_cpk/loose.pt") in found["foreign"]
    assert {str(cell.root / path) for path in ours} <= set(found["unfinished"])
    assert found["rotted"] == []


def test_manifests_that_are_broken_or_contradict_themselves(cell: World, run: Run) -> None:
    path = cell.root / f"{RL}.manifest.json"
    good = document(path)
    for change, sentence in (
        ({"config_digest": "0"}, "its config digest is not that of the config it holds"),
        ({"data_version": "0123456789abcdef"}, "its data version is not that of the files it names"),
    ):
        path.write_text(json.dumps({**good, **change}), encoding="utf-8")
        assert any(sentence in line for line in findings(run)["rotted"])
    path.write_text(json.dumps(good)[:300], encoding="utf-8")
    assert any("is not a manifest" in line for line in findings(run)["rotted"])


@pytest.mark.parametrize("field", ["inputs", "facts", "environment"])
def test_a_manifest_edited_where_no_digest_is_over_it(cell: World, run: Run, field: str) -> None:
    path = cell.root / f"{RL}.manifest.json"
    content = document(path)
    if field == "inputs":
        content["want"]["inputs"]["vlm"]["data_version"] = "0" * 64
    else:
        content[field]["device"] = "a GPU"
    path.write_text(json.dumps(content), encoding="utf-8")
    for words in ((), (KEY,)):
        (line,) = findings(run, *words)["rotted"]
        name = "want" if field == "inputs" else field
        assert f"{RL}.manifest.json: its {name} differs from what was committed and is kept as" in line
    for kept in cell.store.history.glob("rl_data/*.json"):
        kept.unlink()
    assert findings(run)["rotted"] == []


def test_the_history_is_verified_too(cell: World, run: Run) -> None:
    (kept,) = cell.store.history.glob("rl_data/*.json")
    content = kept.read_bytes()
    kept.write_bytes(content[:100])
    assert any(str(kept) in line for line in findings(run)["rotted"])
    kept.write_bytes(content)
    kept.rename(kept.with_name("another-name.json"))
    assert any("under another name" in line for line in findings(run)["rotted"])


def test_hostile_paths_are_neither_read_nor_named(cell: World, run: Run, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("x", encoding="utf-8")
    path = cell.root / f"{RL}.manifest.json"
    good = document(path)
    relative = os.path.relpath(secret, cell.root)
    for hostile in (relative, str(secret)):
        path.write_text(json.dumps({**good, "files": [{**good["files"][0], "path": hostile}]}), encoding="utf-8")
        (line,) = findings(run)["rotted"]
        assert "is not a manifest" in line
    assert str(secret) not in (cell.root / ".icd_assets/digests.json").read_text(encoding="utf-8")


def test_answers_and_features_are_checked(cell: World, run: Run) -> None:
    private = cell.root / ".icd_assets"
    with AnswerStore(private / "answers.sqlite") as answers:
        answers.add({bytes([n]) * 32: "an answer " * 50 for n in range(200)})
    with closing(sqlite3.connect(private / "answers.sqlite")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    features = private / "features/0123/d0-train"
    unit = np.eye(3, 4, dtype=np.float32)
    write_features(features, SamplerFeatures(text=unit, image=unit), cell.store.digests)
    assert findings(run)["rotted"] == []
    (features.parent / "d0-train-text.npy").write_bytes(b"other")
    (line,) = findings(run)["rotted"]
    assert "d0-train.json: its .npy files are not those written" in line
    shutil.rmtree(features.parent)
    assert findings(run)["rotted"] == []
    content = bytearray((private / "answers.sqlite").read_bytes())
    content[4096:8192] = b"\xff" * 4096
    (private / "answers.sqlite").write_bytes(content)
    assert any("answers.sqlite" in line for line in findings(run)["rotted"])


def test_a_user_file_that_was_imported_is_verified_where_it_lies(world: World, run: Run, tmp_path: Path) -> None:
    experiment = world.cell()
    mine = tmp_path / "mine.json"
    mine.write_bytes((world.root / RL).read_bytes())
    before = document(world.root / f"{RL}.manifest.json")
    experiment.store.commit(
        experiment.manifest_path("rl_data"),
        {mine: mine},
        origin="imported",
        spec=experiment.manifest("rl_data").spec,  # type: ignore[union-attr]
        **{n: before[n] for n in ("config_digest", "facts", "cell", "created_at", "seconds")},
        run_id="run-2",
        environment={},
    )
    assert findings(run)["rotted"] == []
    with changed(mine, hidden=True):
        (line,) = findings(run)["rotted"]
        assert str(mine) in line


def test_pruned_files_are_counted_not_missed(cell: World, run: Run) -> None:
    assert run("prune", "--keep", "last", "--yes").code == 0
    found = findings(run)
    assert (found["pruned"], found["rotted"]) == (6, [])
    assert not (cell.root / V3 / "rce_epoch1.pt").exists()


def test_an_unknown_cell_is_one_sentence(run: Run) -> None:
    assert "unknown dataset" in run("verify", "d9|RandSampler/m0").error
