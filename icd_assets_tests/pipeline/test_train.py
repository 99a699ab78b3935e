"""One command, the whole pipeline, as real processes: what it writes, says, records and does not do twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import torch

from icd_assets.datasets.vqa import read_split
from icd_assets.defs.runs.run_owner import read_owner
from icd_assets.evaluation.predictions import read_predictions
from icd_assets.experiment.cell import Cell
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.made_from import phase_to_convert, trained_on_todays_rce
from icd_assets.experiment.settings import read_settings
from icd_assets.pools.config import PoolConfig
from icd_assets.pools.samplers import build_pools
from icd_assets_tests.worlds.workplace import CELL, KEY, Workplace

pytestmark = pytest.mark.slow

Trained = tuple[Workplace, str]
RECIPE = {"RCE_EPOCHS": "5", "GRPO_EPOCHS": "3", "FREEZE_BACKBONE_IN_GRPO": "true"}
V3 = "demo/model_cpk/v3_RandSampler_tiny_vl"


@contextmanager
def instance_of(place: Workplace) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(place.folder)) as instance:
        yield instance


def materialization(instance: dg.DagsterInstance, asset: str) -> dg.AssetMaterialization:
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[KEY])
    found = instance.fetch_materializations(wanted, limit=1).records[0].asset_materialization
    assert found is not None
    return found


def manifest(place: Workplace, relative: str) -> Any:
    return json.loads((place.results / relative).read_text(encoding="utf-8"))


def test_files_lie_where_lever_plus_has_them(trained: Trained) -> None:
    place, _ = trained
    names = sorted(path.name for path in (place.results / V3).iterdir() if path.suffix in (".pt", ".ckpt"))
    expected = [f"rce_epoch{n}.pt" for n in range(1, 6)] + [f"grpo_epoch{n}.pt" for n in range(1, 4)]
    assert names == sorted([*expected, "rce_epoch5_v2format.ckpt", "grpo_epoch3_v2format.ckpt"])
    for relative in (
        "demo/cache/demo-anchor_sample_num:24.json",
        "demo/cache/demo-RandSampler-anchor_sample_num: 24:64.json",
        "demo/cache/query_embeddings.pt",
        "demo/cache/candidate_embeddings.pt",
        "demo/generated_data/vqa-demo-tiny_vl-RandSampler-scorer:infoscore-construct_order:left-beam_size:5-"
        "max_shot:2-candidate_num:64-sample_num:24.json",
        "demo/generated_data/rl_data_RandSampler_tiny_vl.json",
        "demo/model_cpk/v2/tiny_vl_RandSampler_infoscore_left_beam5_shot2_cand64_sample24_best.ckpt",
    ):
        assert (place.results / relative).is_file(), relative


def test_frozen_backbone_is_frozen_and_the_rest_moves(trained: Trained) -> None:
    place, _ = trained

    def state(name: str) -> dict[str, torch.Tensor]:
        content = torch.load(place.results / V3 / name, weights_only=True)
        return content["model_state_dict"]  # type: ignore[no-any-return]

    before, after = state("rce_epoch5.pt"), state("grpo_epoch3.pt")
    for name in before:
        frozen = any(part in name for part in ("input_proj", "query_proj", "cand_proj"))
        assert torch.equal(before[name], after[name]) == frozen, name


def test_the_checkpoint_names_its_rl_data_inside_the_file(trained: Trained) -> None:
    place, _ = trained
    inside = torch.load(place.results / V3 / "rce_epoch5.pt", weights_only=True)["icd_assets"]
    rl_data = manifest(place, "demo/generated_data/rl_data_RandSampler_tiny_vl.json.manifest.json")
    assert inside["inputs"]["rl_data"] == rl_data["data_version"]
    converted = torch.load(place.results / V3 / "grpo_epoch3_v2format.ckpt", weights_only=True)["icd_assets"]
    grpo = manifest(place, f"{V3}/grpo_checkpoints.manifest.json")
    assert converted["inputs"]["grpo_checkpoints"] == grpo["data_version"]


def test_the_summary_is_upstreams(trained: Trained) -> None:
    _, printed = trained
    assert "demo → demo" in printed
    assert "RCE, then GRPO; 5 RCE epochs, 3 GRPO epochs" in printed
    assert "grpo_epoch3.pt: the last GRPO epoch" in printed
    assert "grpo_epoch3_v2format.ckpt" in printed
    for strategy in ("zero-shot", "random", "image+text similarity", "v2 (SFT)", "RCE", "GRPO", "oracle"):
        assert strategy in printed
    assert "make ui" in printed


def test_one_dagster_run_is_recorded_with_data_versions(trained: Trained) -> None:
    place, printed = trained
    with instance_of(place) as instance:
        (run,) = instance.get_runs()
        assert run.run_id in printed
        assert run.status is dg.DagsterRunStatus.SUCCESS
        assert run.tags["dagster/partition"] == KEY
        rce = materialization(instance, "rce_checkpoints")
        on_disk = manifest(place, f"{V3}/rce_checkpoints.manifest.json")
        assert rce.tags is not None
        assert rce.tags["dagster/data_version"] == on_disk["data_version"]
        assert rce.tags["dagster/code_version"] == on_disk["want"]["code_version"]
        assert rce.metadata["rl_data/run"].value == run.run_id
        rl_data = manifest(place, "demo/generated_data/rl_data_RandSampler_tiny_vl.json.manifest.json")
        assert on_disk["vlm"] == [rl_data["want"]["inputs"]["vlm"]["data_version"]]
        assert rce.metadata["vlm"].value == "tiny_vl"
        assert rce.metadata["vlm/digest"].value == on_disk["vlm"][0][:16]
        assert "data:image/svg+xml;base64," in rce.metadata["curve"].value
        observed = instance.fetch_observations(dg.AssetKey("rce_checkpoints"), limit=50).records
        assert len(observed) == 5
        checks = instance.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(dg.AssetKey("v2format_checkpoint"), "forward_equality"), limit=1
        )
        assert checks[0].status.value == "SUCCEEDED"


def test_evaluation_keeps_every_answer(trained: Trained) -> None:
    place, _ = trained
    folder = place.results / "demo/icl_inference/v3_RandSampler_tiny_vl"
    rows = read_predictions(folder / "predictions.parquet").to_pylist()
    comparison = manifest(place, "demo/icl_inference/v3_RandSampler_tiny_vl/comparison.json")
    for strategy in comparison["strategies"]:
        own = [
            row["score"]
            for row in rows
            if (row["strategy"], row["shots"]) == (strategy["strategy"], strategy["shots"])
        ]
        assert len(own) == comparison["num_queries"] == 40
        assert sum(own) / len(own) == pytest.approx(strategy["score"]["value"])
    leaderboard = json.loads((place.results / "leaderboard.json").read_text(encoding="utf-8"))
    rl_data = manifest(place, "demo/generated_data/rl_data_RandSampler_tiny_vl.json.manifest.json")
    assert leaderboard[0]["rl_data_version"] == rl_data["data_version"]


def test_evaluated_queries_choose_from_the_samplers_own_pools(trained: Trained) -> None:
    """Beside the table lie the pools of the questions asked; a pool depends on its query, not on how many."""
    place, _ = trained
    folder = "demo/icl_inference/v3_RandSampler_tiny_vl"
    found = manifest(place, f"{folder}/validation_pools.json")
    assert f"{folder}/validation_pools.json" in [
        record["path"] for record in manifest(place, f"{folder}/evaluation.manifest.json")["files"]
    ]
    files = place.folder / "datasets" / "demo"
    train, validation = (
        read_split(
            "demo",
            split,
            files / f"OpenEnded_demo_{name}_questions.json",
            files / f"demo_{name}_annotations.json",
            str(files / "COCO_{image_id:012d}.jpg"),
        )
        for split, name in (("train", "train"), ("validation", "validation"))
    )
    every = build_pools("RandSampler", validation, train, PoolConfig(), same_split=False)
    assert found == {str(row): list(every[row]) for row in range(40)}
    # what candidate_pools makes is what Lever-Plus' samplers leave, and nothing more
    assert len(list((place.results / "demo/cache").glob("demo-*.json"))) == 2 + 1  # and the manifest


def test_a_similarity_cell_encodes_only_the_questions_it_asks(copied: Workplace) -> None:
    cell = [*CELL[:4], "text_sim_sampler", CELL[5]]
    flags = ["--set", "v2_checkpoint.epochs=1", "--set", "evaluation.oracle_beams=0", "--rce-epochs", "1"]
    ended = copied.run("train", *cell, *flags, TEST_DATA_NUM="7")
    assert ended.returncode == 0, ended.stderr
    pools = manifest(copied, "demo/icl_inference/v3_TextSimSampler_tiny_vl/validation_pools.json")
    assert list(pools) == [str(row) for row in range(7)]
    names = sorted(path.name for path in copied.results.glob(".icd_assets/features/*/demo-*-text.npy"))
    assert [name.rsplit("-", 2)[0] for name in names] == ["demo-train", "demo-validation-first7"]
    planned = copied.run("train", *cell, *flags, "--dry-run", "--set", "candidate_pools.allow_same_image=true")
    assert "allow_same_image False → True" in planned.stdout


def test_the_second_time_nothing_is_done(copied: Workplace) -> None:
    # The copy lies elsewhere: a path is not part of what an artifact is.
    ended = copied.train(**RECIPE)
    assert ended.returncode == 0, ended.stderr
    assert "nothing had to be done" in ended.stdout
    with instance_of(copied) as instance:
        assert len(instance.get_runs()) == 1


def test_only_what_changed_is_made_again_and_the_reason_is_said(copied: Workplace) -> None:
    planned = copied.train("--dry-run", "--grpo-lr", "1e-4", **RECIPE)
    lines = {line.split()[0]: line for line in planned.stdout.splitlines() if line.strip()}
    assert "present" in lines["rce_checkpoints"]
    assert "config changed: grpo_lr 0.0002 → 0.0001" in lines["grpo_checkpoints"]
    assert "after grpo_checkpoints" in lines["v2format_checkpoint"]

    before = manifest(copied, "demo/generated_data/rl_data_RandSampler_tiny_vl.json.manifest.json")
    ended = copied.train("--grpo-lr", "1e-4", "--to", "v2format_checkpoint", **RECIPE)
    assert ended.returncode == 0, ended.stderr
    assert "[1/2] grpo_checkpoints" in ended.stdout
    after = manifest(copied, "demo/generated_data/rl_data_RandSampler_tiny_vl.json.manifest.json")
    assert before == after


def test_normalized_reward_is_heard_and_bytes_are_reproducible(copied: Workplace) -> None:
    def rce(**variables: str) -> str:
        ended = copied.train("--to", "rce_checkpoints", **(RECIPE | variables))
        assert ended.returncode == 0, ended.stderr
        return str(manifest(copied, f"{V3}/rce_checkpoints.manifest.json")["data_version"])

    raw = rce()
    assert rce(RCE_USE_NORMALIZED_REWARD="true") != raw
    assert rce() == raw  # trained again from the same inputs: the same bytes


def test_forced_training_of_the_same_is_the_same_and_downstream_is_kept(copied: Workplace) -> None:
    ended = copied.train("--force", "rce_checkpoints", **RECIPE)
    assert ended.returncode == 0, ended.stderr
    assert "rce_checkpoints: forced" in ended.stdout
    assert "grpo_checkpoints: unchanged, kept" in ended.stdout


def test_a_changed_byte_of_rl_data_is_noticed(copied: Workplace) -> None:
    path = copied.results / "demo/generated_data/rl_data_RandSampler_tiny_vl.json"
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"vqa_correct": 1', b'"vqa_correct": 0', 1))
    planned = copied.train("--dry-run", **RECIPE)
    assert "is no longer what rl_data wrote" in " ".join(planned.stdout.split())


def test_rce_only_is_the_default_and_recommends_rce(copied: Workplace) -> None:
    ended = copied.train("--to", "v2format_checkpoint", RCE_EPOCHS="5")
    assert ended.returncode == 0, ended.stderr
    assert "RCE only" in ended.stdout
    assert (copied.results / V3 / "rce_epoch5_v2format.ckpt").is_file()


def test_the_users_rl_data_is_used_where_it_lies(copied: Workplace) -> None:
    mine = copied.folder / "mine.json"
    mine.write_bytes((copied.results / "demo/generated_data/rl_data_RandSampler_tiny_vl.json").read_bytes())
    ended = copied.train("--to", "rce_checkpoints", RL_DATA_PATH=str(mine), **RECIPE)
    assert ended.returncode == 0, ended.stderr
    recorded = manifest(copied, "demo/generated_data/rl_data_RandSampler_tiny_vl.json.manifest.json")
    assert recorded["origin"] == "imported"
    assert recorded["files"][0]["path"] == str(mine)


def test_the_users_v2_checkpoint_is_imported_not_trained(copied: Workplace) -> None:
    folder = copied.results / "demo/model_cpk/v2"
    (ours,) = folder.glob("*_best.ckpt")
    mine = folder / ours.name.replace("_best.ckpt", "_epoch=12_train=21.93316_val=21.99296.ckpt")
    mine.write_bytes(ours.read_bytes())
    ours.unlink()
    ours.with_name(ours.name + ".manifest.json").unlink()
    ended = copied.train("--to", "embeddings", **RECIPE)
    assert ended.returncode == 0, ended.stderr
    recorded = manifest(copied, f"demo/model_cpk/v2/{ours.name}.manifest.json")
    assert recorded["origin"] == "imported"
    assert Path(recorded["files"][0]["path"]).name == mine.name


def test_in_the_ui_every_asset_runs_with_launchpad_defaults(
    copied: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The implicit job that the UI's Materialize button launches, without any config: all is kept."""
    monkeypatch.chdir(copied.folder)
    for name, value in copied.environment.items():
        monkeypatch.setenv(name, value)
    command = [sys.executable, "-m", "dagster", "asset", "materialize", "-m", "icd_assets.definitions"]
    arguments = ["--select", "rl_data,rce_checkpoints", "--partition", KEY]
    environment = {**copied.environment, "DAGSTER_HOME": str(copied.folder)}
    ended = subprocess.run(
        [*command, *arguments], cwd=copied.folder, env=environment, capture_output=True, text=True, timeout=240
    )
    assert ended.returncode == 0, ended.stderr
    with instance_of(copied) as instance:
        run = instance.get_runs(limit=1)[0]
        worker = read_owner(run.tags, run.run_id)
        assert (
            worker is not None and worker.gone()
        )  # each step is a process of its own: the run worker is recorded
        (started,) = {
            event.dagster_event.engine_event_data.metadata["pid"].value
            for event in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
            if event.dagster_event and "pid" in event.dagster_event.engine_event_data.metadata
        }
        assert str(worker.pid) == started
        assert materialization(instance, "rl_data").metadata["skipped"].value is True
        again = materialization(instance, "rce_checkpoints").metadata
        assert again["skipped"].value is True
        assert "data:image/svg+xml" in again["curve"].value  # as if it had just been trained


@pytest.mark.parametrize("sampler", ["text_sim_sampler", "img_sim_sampler", "mix_sampler"])
def test_similarity_samplers_share_what_the_encoder_saw(copied: Workplace, sampler: str) -> None:
    for _ in range(2):  # the second time everything is there
        cell = [*CELL[:4], sampler, CELL[5]]
        ended = copied.run("train", *cell, "--to", "candidate_pools")
        assert ended.returncode == 0, ended.stderr
    assert "nothing had to be done" in ended.stdout
    name = {"text_sim_sampler": "TextSim", "img_sim_sampler": "ImgSim", "mix_sampler": "Mix"}[sampler]
    pools = manifest(copied, f"demo/cache/demo-{name}Sampler-anchor_sample_num: 24:64-.json")
    assert len(pools) == 24
    assert all(len(set(pool)) == 64 and int(row) not in pool for row, pool in pools.items())
    assert len(list(copied.results.glob(".icd_assets/features/*/demo-*-text.npy"))) == 1


def test_a_subfolder_means_the_same_results(copied: Workplace) -> None:
    """As the UI, which works beside dagster.yaml, sees it; a path means the folder it is typed in."""
    below = copied.folder / "notes"
    below.mkdir()
    (below / "rl.json").write_text("{}", encoding="utf-8")
    command = [sys.executable, "-m", "icd_assets.cli", "train", *CELL, "--dry-run"]
    planned = subprocess.run(
        command, cwd=below, env=copied.environment | RECIPE, capture_output=True, text=True, check=True
    )
    assert "missing" not in planned.stdout
    asked = subprocess.run(
        [*command, "--rl-data-path", "rl.json"], cwd=below, env=copied.environment, capture_output=True, text=True
    )
    assert f"path None → {below / 'rl.json'}" in " ".join(asked.stdout.split())


def test_the_table_can_be_printed_again(trained: Trained, workplace: Workplace) -> None:
    place, printed = trained
    shown = place.run("evaluation", "demo", "rand_sampler", "tiny_vl")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.strip().splitlines()[1:4] == printed[printed.index("strategy ") :].splitlines()[:3]
    nothing = workplace.run("evaluation")
    assert nothing.returncode == 2
    assert "is not evaluated yet" in nothing.stderr


def test_ctrl_c_keeps_what_is_complete_and_frees_the_gpu_slot(workplace: Workplace) -> None:
    command = [sys.executable, "-m", "icd_assets.cli", "train", *CELL]
    with subprocess.Popen(
        command,
        cwd=workplace.folder,
        env=workplace.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        for line in running.stdout:
            if "beam_data: missing" in line:
                break
        running.send_signal(signal.SIGINT)
        rest, errors = running.stdout.read(), running.stderr.read()
        assert running.wait(60) == 130, rest + errors
    assert "the same command goes on from there" in errors
    with instance_of(workplace) as instance:
        assert instance.event_log_storage.get_concurrency_info("gpu").active_slot_count == 0
        assert instance.get_runs()[0].is_finished
    planned = workplace.train("--dry-run")
    assert "candidate_pools      present" in planned.stdout


def test_experiments_open_without_a_run(trained: Trained) -> None:
    place, _ = trained
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    experiment = Experiment.open(Cell.parse(KEY), read_settings(environment={}), place.results)
    assert trained_on_todays_rce(experiment)
    assert phase_to_convert(experiment) == "grpo"
    assert len(CELL) == 6
