"""``icd-assets adopt``, as real processes: a Lever-Plus user moves in, and training goes on from what is there."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from icd_assets_tests.worlds.lever_plus import (
    KEY,
    POOLS,
    RL_DATA,
    V2,
    V3,
    LeverPlus,
    lever_plus_folder,
    write_json,
    write_upstream_v2format,
)
from icd_assets_tests.worlds.workplace import Workplace

pytestmark = pytest.mark.slow
ADOPTED = ("candidate_pools", "beam_data", "v2_checkpoint", "embeddings", "rl_data")


MovedIn = tuple[LeverPlus, list[Any]]


@pytest.fixture(scope="module")
def moved_in(trained: tuple[Workplace, str], tmp_path_factory: pytest.TempPathFactory) -> MovedIn:
    """Adopted, trained and evaluated; what each command printed. Read only."""
    place = lever_plus_folder(trained[0], tmp_path_factory.mktemp("lever_plus") / "work")
    before = {path: path.read_bytes() for path in users_files(place)}
    commands = [
        place.adopt(),
        place.train_cell("--to", "v2format_checkpoint"),
        place.train_cell(),
        place.adopt(),
    ]
    for ended in commands:
        assert ended.returncode == 0, ended.stderr + ended.stdout
    assert before == {path: path.read_bytes() for path in before}  # no file of the user's was touched
    return place, commands


def users_files(place: LeverPlus) -> list[Path]:
    return [path for path in place.results.rglob("*") if path.is_file()]


def lines_of(printed: str) -> dict[str, str]:
    """By asset; one per artifact."""
    found = {}
    for line in printed.splitlines():
        words = line.replace("would adopt", "would_adopt").replace("left alone", "left_alone").split()
        if len(words) > 2:
            found[words[1]] = " ".join(words)
    return found


@contextmanager
def instance_of(place: Workplace) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(place.folder)) as instance:
        yield instance


def latest(instance: dg.DagsterInstance, asset: str) -> dg.AssetMaterialization:
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[KEY])
    found = instance.fetch_materializations(wanted, limit=1).records[0].asset_materialization
    assert found is not None
    return found


def manifest(place: LeverPlus, relative: str) -> Any:
    return json.loads((place.dataset / relative).read_text(encoding="utf-8"))


def test_the_report_names_every_adopted_artifact(moved_in: MovedIn) -> None:
    _, (adopted, *_) = moved_in
    lines = lines_of(adopted.stdout)
    assert all(lines[asset].startswith("adopted ") for asset in ADOPTED)
    assert "24 pools of 64 rows" in lines["candidate_pools"]
    assert "its own CLIP towers" in lines["v2_checkpoint"]
    assert "4 encoded again: cosine 1.0000 or more" in lines["embeddings"]
    assert "generation 4, 24 queries" in lines["rl_data"]
    assert "5 adopted" in adopted.stdout


def test_only_what_is_missing_is_trained(moved_in: MovedIn) -> None:
    place, (_, trained, rest, _) = moved_in
    made = [line.split()[1] for line in trained.stdout.splitlines() if line.startswith("[")]
    assert made == ["rce_checkpoints:", "v2format_checkpoint:"]
    assert "[1/1] evaluation: missing" in rest.stdout
    with instance_of(place) as instance:
        first = instance.get_runs()[-1]
        steps = {event.step_key for event in instance.all_logs(first.run_id) if event.step_key}
        assert {step for step in steps if "all_tensors" not in step and "equality" not in step} == {
            "rce_checkpoints",
            "v2format_checkpoint",
        }


def test_the_ui_shows_adopted_assets_as_materialized(moved_in: MovedIn) -> None:
    place, _ = moved_in
    with instance_of(place) as instance:
        assert instance.get_dynamic_partitions("cell") == [KEY]
        for asset in ADOPTED:
            event = latest(instance, asset)
            assert event.metadata["origin"].value == "adopted"
            assert "config" in str(event.metadata["unknown"].value)
        recorded = manifest(place, f"{RL_DATA}.manifest.json")
        assert (latest(instance, "rl_data").tags or {})["dagster/data_version"] == recorded["data_version"]
        rce = manifest(place, f"{V3}/rce_checkpoints.manifest.json")
        assert rce["want"]["inputs"]["rl_data"]["data_version"] == recorded["data_version"]
        every = instance.get_materialized_partitions(dg.AssetKey("rl_data"))
        assert every == {KEY}  # no other cell has this file


def test_a_second_adoption_changes_nothing(moved_in: MovedIn) -> None:
    place, (*_, again) = moved_in
    lines = lines_of(again.stdout)
    assert all(lines[asset].startswith("already ") for asset in ADOPTED)
    assert lines["rce_checkpoints"].endswith("made by this project")
    with instance_of(place) as instance:
        wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey("rl_data"))
        assert len(instance.fetch_materializations(wanted, limit=10).records) == 1


def test_a_manifest_says_what_is_known_and_what_is_not(moved_in: MovedIn) -> None:
    place, _ = moved_in
    rl_data = manifest(place, f"{RL_DATA}.manifest.json")
    assert rl_data["origin"] == "adopted"
    assert rl_data["run_id"] is None
    assert {"config", "code", "seed", "VLM digest"} <= set(rl_data["unknown"])
    assert rl_data["facts"]["says_of_itself"]["vqa_model"] == "Qwen/Qwen2.5-VL-3B-Instruct"
    content = (place.dataset / RL_DATA).read_bytes()
    assert rl_data["files"] == [
        {
            "path": f"okvqa/{RL_DATA}",
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "pruned": None,
        }
    ]
    embeddings = manifest(place, "cache/query_embeddings.pt.manifest.json")
    v2 = manifest(place, f"{V2.replace('epoch=12_train=21.93316_val=21.99296', 'best')}.manifest.json")
    assert embeddings["want"]["inputs"]["v2_checkpoint.encoder"]["data_version"] == v2["facts"]["encoder_digest"]
    leaderboard = json.loads((place.results / "leaderboard.json").read_text(encoding="utf-8"))
    assert leaderboard[0]["rl_data_version"] == rl_data["data_version"]


@pytest.fixture
def place(trained: tuple[Workplace, str], tmp_path: Path) -> LeverPlus:
    return lever_plus_folder(trained[0], tmp_path / "work", trained=True)


def test_trained_epochs_are_adopted_and_converted_anew(place: LeverPlus) -> None:
    """Lever-Plus' metrics have no expected reward; its converted file is understood, and stays."""
    theirs = write_upstream_v2format(place.dataset / V3 / "grpo_epoch3.pt")
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in users_files(place)}
    adopted = place.adopt("--dry-run")
    assert "would adopt" in adopted.stdout
    assert not list(place.results.rglob("*.manifest.json"))
    adopted = place.adopt()
    assert adopted.returncode == 0, adopted.stderr
    lines = lines_of(adopted.stdout)
    assert "epochs up to 5" in lines["rce_checkpoints"]
    assert "epochs up to 3" in lines["grpo_checkpoints"]
    assert "converted anew from its .pt" in adopted.stdout
    ended = place.train_cell(GRPO_EPOCHS="3")
    assert ended.returncode == 0, ended.stderr
    assert "[1/2] v2format_checkpoint: missing" in ended.stdout
    ours = theirs.parent / "icd_assets" / theirs.name
    assert ours.is_file()
    assert "is yours and stays; ours lies in icd_assets/ beside it" in " ".join(ended.stdout.split())
    assert f"export LEVER_LM_CHECKPOINT_PATH={ours.relative_to(place.folder)}" in ended.stdout
    leaderboard = json.loads((place.results / "leaderboard.json").read_text(encoding="utf-8"))
    assert leaderboard[0]["rl_data_version"] == "unknown"  # nobody wrote down what these learned from
    with instance_of(place) as instance:
        shown = latest(instance, "rce_checkpoints").metadata
        assert "data:image/svg+xml" in str(shown["curve"].value)
    best = place.train_cell("--set", "v2format_checkpoint.epoch=best", "--dry-run", GRPO_EPOCHS="3")
    assert "epoch last → best" in best.stdout

    # trained again by us, the user's epochs stay, and GRPO is no longer what came of them
    ended = place.train_cell("--force", "rce_checkpoints", "--to", "grpo_checkpoints", GRPO_EPOCHS="3")
    assert ended.returncode == 0, ended.stderr
    assert "grpo_checkpoints: rce_checkpoints changed" in ended.stdout
    beside = place.dataset / V3 / "icd_assets"
    assert len(list(beside.glob("rce_epoch?.pt"))) == 5
    assert len(list(beside.glob("grpo_epoch?.pt"))) == 3
    assert before == {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in before}
    assert not list(place.results.rglob("*.kept-*"))


def as_they_are(place: LeverPlus) -> dict[Path, tuple[str, int, int]]:
    """Of every file of the user's: digest, time, inode."""
    found = {}
    for path in users_files(place):
        stat = path.stat()
        found[path] = (hashlib.sha256(path.read_bytes()).hexdigest(), stat.st_mtime_ns, stat.st_ino)
    return found


def test_a_whole_folder_is_adopted_sweeps_too_and_stays_as_it_is(place: LeverPlus) -> None:
    """Sweeps lie in folders with weights as they were typed, or with a name by hand; epochs are converted."""
    for suffix in ("_h2_s1.0", "_kl012"):
        shutil.copytree(place.dataset / V3, place.dataset / f"{V3}{suffix}")
    for epoch in [*place.dataset.rglob("rce_epoch5.pt"), *place.dataset.rglob("grpo_epoch3.pt")]:
        write_upstream_v2format(epoch)
    before = as_they_are(place)
    adopted = place.adopt()
    assert adopted.returncode == 0, adopted.stderr
    found = [line.split()[1] for line in adopted.stdout.splitlines() if line.startswith("adopted ")]
    assert [*dict.fromkeys(found)] == [*ADOPTED, "rce_checkpoints", "grpo_checkpoints"]
    assert found.count("rce_checkpoints") == found.count("grpo_checkpoints") == 3
    again = place.adopt()
    assert "11 already" in again.stdout and " adopted" not in again.stdout.replace(": adopted", "")

    ended = place.train_cell(GRPO_EPOCHS="3")
    assert ended.returncode == 0, ended.stderr + ended.stdout
    assert "5 adopted RCE epochs, 3 adopted GRPO epochs" in ended.stdout
    made = [line.split()[1] for line in ended.stdout.splitlines() if line.startswith("[")]
    assert made == ["v2format_checkpoint:", "evaluation:"]
    other = place.train_cell("--to", "v2format_checkpoint", GRPO_EPOCHS="1", HARD_WEIGHT="2")
    assert other.returncode == 0, other.stderr + other.stdout
    assert "grpo_checkpoints: 3 adopted epochs although GRPO_EPOCHS=1" in other.stdout
    named = place.train_cell("--name", "kl012", "--to", "v2format_checkpoint", GRPO_EPOCHS="3")
    assert named.returncode == 0, named.stderr + named.stdout
    assert "v3_RandSampler_Qwen2_5-VL-3B-Instruct_kl012" in named.stdout
    for suffix in ("", "_h2_s1.0", "_kl012"):
        ours = place.dataset / f"{V3}{suffix}" / "icd_assets" / "grpo_epoch3_v2format.ckpt"
        assert ours.is_file()

    after = as_they_are(place)
    assert {path: after.get(path) for path in before} == before


def test_a_changed_file_is_never_trained_on_unasked(place: LeverPlus) -> None:
    for epoch in (place.dataset / V3).glob("*.pt"):
        epoch.unlink()
    assert place.adopt().returncode == 0
    path = place.dataset / RL_DATA
    content = json.loads(path.read_text(encoding="utf-8"))
    dropped = next(key for key in content if not key.startswith("_"))
    del content[dropped]
    write_json(path, content)
    planned = place.train_cell("--dry-run")
    assert "was changed after it was adopted; adopt it again as it is now" in " ".join(planned.stdout.split())
    ended = place.train_cell("--to", "rce_checkpoints")
    assert ended.returncode == 2
    assert "rl_data" in ended.stderr
    assert "was changed after it was adopted" in ended.stderr
    assert not list((place.dataset / V3).glob("*.pt"))
    assert "23 queries" in lines_of(place.adopt().stdout)["rl_data"]
    ended = place.train_cell("--to", "rce_checkpoints")
    assert ended.returncode == 0, ended.stderr
    with instance_of(place) as instance:
        assert (latest(instance, "rl_data").tags or {})["dagster/data_version"] == manifest(
            place, f"{RL_DATA}.manifest.json"
        )["data_version"]


def test_a_folder_elsewhere_is_adopted_in_place(place: LeverPlus) -> None:
    elsewhere = place.folder / "year one"
    place.results.rename(elsewhere)
    ended = place.run("adopt", "year one")
    assert f"export RESULT_DIR={shlex.quote(str(elsewhere))}" in ended.stdout
    planned = place.train_cell("--dry-run", RESULT_DIR=str(elsewhere))
    assert "candidate_pools      adopted" in planned.stdout
    assert place.run("adopt", "nowhere").returncode == 2


def test_a_trainers_own_checkpoint_is_taken_by_its_path(place: LeverPlus) -> None:
    """As Lightning and OmegaConf wrote it, lists in its settings included."""
    for epoch in (place.dataset / V3).glob("*.pt"):
        epoch.unlink()
    mine = (place.dataset / V2).rename(place.folder / "epoch=12 mine.ckpt")
    before = mine.read_bytes()
    assert b"omegaconf.listconfig" in before
    assert b"__builtin__\nlong" in before
    assert place.adopt().returncode == 0
    ended = place.train_cell("--to", "rce_checkpoints", LEVER_LM_CHECKPOINT_PATH=str(mine), RCE_EPOCHS="1")
    assert ended.returncode == 0, ended.stderr + ended.stdout
    (found,) = (place.dataset / "model_cpk/v2").glob("*.manifest.json")
    assert json.loads(found.read_text(encoding="utf-8"))["origin"] == "imported"
    assert [path.name for path in (place.dataset / V3).glob("*.pt")] == ["rce_epoch1.pt"]
    assert mine.read_bytes() == before


def test_settings_that_ask_for_another_file_are_heard(place: LeverPlus) -> None:
    assert place.adopt().returncode == 0
    mine = place.folder / "mine.json"
    mine.write_bytes((place.dataset / RL_DATA).read_bytes() + b"\n")
    planned = place.train_cell("--dry-run", RL_DATA_PATH=str(mine))
    assert "rl_data              stale" in planned.stdout
    planned = place.train_cell("--dry-run", "--set", "v2_checkpoint.source=train")
    assert "v2_checkpoint        stale" in planned.stdout
    (place.dataset / POOLS).unlink()  # gone, unlike changed, is made anew without asking
    planned = place.train_cell("--dry-run")
    assert "candidate_pools      stale" in planned.stdout
