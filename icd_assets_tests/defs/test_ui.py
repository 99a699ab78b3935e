"""What Dagster's UI says of a cell: whose run was consumed, and what is unsynced, with a real instance.

The assets are ours down to the function that computes: it writes small files instead of training.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleCause
from dagster._core.loader import LoadingContextForTest

from icd_assets.assets import build
from icd_assets.assets.step_run import Report, StepRun
from icd_assets.defs.assets import RewardResource, SharedResource, metadata
from icd_assets.defs.assets.leaderboard import leaderboard
from icd_assets.defs.assets.step_asset import step_asset
from icd_assets.defs.automation import checks
from icd_assets.experiment import recipes
from icd_assets.experiment import steps as pipeline
from icd_assets.experiment.catalog import Catalog
from icd_assets.experiment.cell import Cell
from icd_assets.experiment.checks.judges import Verdict
from icd_assets.experiment.settings import read_settings
from icd_assets.store.store import Store
from icd_assets.upkeep.status import Survey
from icd_assets_tests.worlds.manifests import STEP_NAMES, World, content

KEY = "demo|RandSampler/tiny_vl"  # partitions are the packaged catalog's
NOTES: dict[str, str] = {}  # asset → what makes its bytes others


@pytest.fixture(autouse=True)
def _made_of_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every asset is the world's few bytes, and shows nothing of its own."""

    def written(run: StepRun) -> Report:
        facts, texts = content(run.experiment, run.spec.asset, run.spec, NOTES.get(run.spec.asset, ""))
        staged = {}
        for index, (final, text) in enumerate(texts.items()):
            staged[final] = run.staging / str(index)
            staged[final].write_bytes(text)
        return Report(files=staged, facts=facts)

    monkeypatch.setattr(build, "maker", lambda asset: written)
    monkeypatch.setattr(metadata, "shown", lambda asset, facts: {})


def _about(cause: StaleCause) -> str:
    return (cause.dependency or cause.key).asset_key.to_user_string()


class Place:
    """A world whose one cell has the packaged demo's names, and Dagster's instance beside it."""

    def __init__(self, world: World, instance: dg.DagsterInstance) -> None:
        self.root, self.instance = world.root, instance
        self.defs = self.loaded()

    def loaded(self) -> dg.Definitions:
        resources = {"shared": SharedResource(), "reward": RewardResource()}
        return dg.Definitions(assets=[*map(step_asset, pipeline.STEP.values()), leaderboard], resources=resources)

    def run(self, *names: str, **config: Mapping[str, Any]) -> str:
        ended = self.ended(*names, **config)
        assert ended.success
        return ended.run_id

    def ended(self, *names: str, **config: Mapping[str, Any]) -> dg.ExecuteInProcessResult:
        ops = {"grpo_checkpoints": {"config": {"grpo_epochs": 3}}} if "grpo_checkpoints" in names else {}
        ops |= {
            name: {"config": {**ops.get(name, {}).get("config", {}), **given}} for name, given in config.items()
        }
        shared = {"config": {"results_root": str(self.root)}}
        return self.defs.resolve_implicit_global_asset_job_def().execute_in_process(
            raise_on_error=False,
            instance=self.instance,
            partition_key=KEY,
            asset_selection=[dg.AssetKey(name) for name in names],
            run_config={
                "ops": ops,
                "resources": {"shared": shared},
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
        )

    def unsynced(self) -> dict[str, str]:
        """asset → why, as the UI's partition pane asks for it."""
        resolver = CachingStaleStatusResolver(
            self.instance, self.defs.resolve_asset_graph(), LoadingContextForTest(self.instance)
        )
        found = {}
        for name in STEP_NAMES:
            status = resolver.get_status(dg.AssetKey(name), KEY)
            if status.value != "FRESH":
                causes = resolver.get_stale_causes(dg.AssetKey(name), KEY)
                found[name] = "; ".join(f"{_about(cause)} {cause.reason}" for cause in causes)
        return found

    def planned(self, **variables: str) -> dict[str, str | None]:
        """asset → why, as our own plan says it."""
        settings = read_settings(environment={"GRPO_EPOCHS": "3", **variables})
        found = Survey(Store(self.root), Catalog.load(), settings).status(Cell.parse(KEY))
        return {one.asset: one.reason for one in found.assets if one.state not in ("fresh", "left out")}

    def shown(self, asset: str) -> Mapping[str, Any]:
        wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[KEY])
        event = self.instance.fetch_materializations(wanted, limit=1).records[0].asset_materialization
        assert event is not None
        return event.metadata


@pytest.fixture
def place(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """Its cell has Lever-Plus' chain, where nobody names another recipe."""
    NOTES.clear()
    monkeypatch.setattr(recipes, "DEFAULT_RECIPE", "beams")
    path = world.folder / "catalog.yaml"
    text = path.read_text(encoding="utf-8").replace("  d0:", "  demo:").replace("  m0:", "  tiny_vl:")
    path.write_text(text, encoding="utf-8")
    with dg.DagsterInstance.ephemeral() as found:
        yield Place(world, found)


@pytest.fixture
def made(place: Place) -> tuple[Place, str]:
    """All nine, by one run."""
    return place, place.run(*STEP_NAMES)


def test_from_a_checkpoint_one_click_leads_to_the_rl_data_it_learned_from(made: tuple[Place, str]) -> None:
    place, first = made
    for asset in ("rce_checkpoints", "grpo_checkpoints", "v2format_checkpoint", "evaluation"):
        assert place.shown(asset)["rl_data/run"].value == first
    NOTES["rl_data"] = "other answers"
    second = place.run("rl_data", rl_data={"force": True})
    # made again from the same RCE: what it consumed is the first run's RL data, whatever lies on disk now
    place.run("v2format_checkpoint", "evaluation", v2format_checkpoint={"force": True}, evaluation={"force": True})
    for asset in ("v2format_checkpoint", "evaluation"):
        assert place.shown(asset)["rl_data/run"].value == first
        assert place.shown(asset)["rl_data/data_version"].value == _version(place, first)
    # its RCE and GRPO were made again, it was not: the evaluation is of what it was converted from
    place.run("rce_checkpoints", "grpo_checkpoints")
    place.run("evaluation", evaluation={"force": True})
    assert place.shown("evaluation")["rl_data/run"].value == first
    place.run("v2format_checkpoint")
    assert place.shown("v2format_checkpoint")["rl_data/run"].value == second
    assert place.shown("v2format_checkpoint")["grpo_checkpoints/run"].value != first


def _version(place: Place, run_id: str) -> str:
    """Of the RL data that a run made, which may be replaced by now."""
    (kept,) = [
        manifest
        for path in Store(place.root).history.glob("rl_data/*.json")
        if (manifest := json.loads(path.read_text(encoding="utf-8")))["run_id"] == run_id
    ]
    return str(kept["data_version"])


@pytest.mark.parametrize("reason", [None, "no pointer was ever right"])
def test_a_check_says_its_reason(place: Place, reason: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the list of checks, where its description stands, and beside its numbers; passed or not."""
    measured = {"queries": 3, "candidates": 9, "lowest_reward": 0.123456, "source": "rl_data.json"}
    monkeypatch.setattr(checks, "judge", lambda experiment, asset: Verdict(measured, reason))
    (check,) = [one for one in checks.CHECKS if {key.asset_key.path[-1] for key in one.check_keys} == {"rl_data"}]
    place.run("candidate_pools", "beam_data", "v2_checkpoint", "embeddings")
    place.defs = dg.Definitions.merge(place.defs, dg.Definitions(asset_checks=[check]))
    (found,) = place.ended("rl_data").get_asset_check_evaluations()
    sentence = (
        "fit to build on: queries 3, candidates (pointers) 9, lowest_reward (reward units) 0.1235, "
        "source rl_data.json."
        if reason is None
        else "rl_data is made, but nothing can be built on it: no pointer was ever right."
    )
    assert found.passed is (reason is None)
    assert found.description == found.metadata["reason"].value == sentence
    assert found.metadata["lowest_reward (reward units)"].value == 0.1235


def test_new_rl_data_makes_its_readers_unsynced(made: tuple[Place, str]) -> None:
    place, _ = made
    assert place.unsynced() == {}
    assert place.planned() == {}
    NOTES["rl_data"] = "other answers"
    place.run("rl_data", rl_data={"force": True})
    new = "rl_data has a new dependency data version"
    assert place.unsynced() == {"rce_checkpoints": new, "grpo_checkpoints": new}
    # Dagster looks one step far: what follows from RCE is unsynced once RCE was made again.
    assert list(place.planned()) == ["rce_checkpoints", "grpo_checkpoints", "v2format_checkpoint", "evaluation"]
    place.run("rce_checkpoints")
    assert set(place.unsynced()) == {"grpo_checkpoints", "v2format_checkpoint", "evaluation"}
    place.run("grpo_checkpoints", "v2format_checkpoint", "evaluation")
    assert place.unsynced() == {}
    assert place.planned() == {}


def test_the_same_rl_data_again_leaves_all_synced(made: tuple[Place, str]) -> None:
    place, _ = made
    place.run("rl_data", rl_data={"force": True})
    assert place.unsynced() == {}
    assert place.planned() == {}


def test_a_users_rl_data_file_is_new_rl_data(made: tuple[Place, str], tmp_path: Path) -> None:
    place, _ = made
    NOTES["rl_data"] = "the user's"
    place.run("rl_data", rl_data={"path": str(_file(tmp_path))})
    assert set(place.unsynced()) == {"rce_checkpoints", "grpo_checkpoints"}


def _file(folder: Path) -> Path:
    path = folder / "mine.json"
    path.write_text("{}", encoding="utf-8")
    return path


def test_a_code_change_is_unsynced_in_both(made: tuple[Place, str], monkeypatch: pytest.MonkeyPatch) -> None:
    place, _ = made
    raised = replace(pipeline.STEP["rl_data"], code_version="99")
    monkeypatch.setitem(pipeline.STEP, "rl_data", raised)
    place.defs = place.loaded()
    assert place.unsynced() == {"rl_data": "rl_data has a new code version"}
    assert str(place.planned()["rl_data"]).endswith("→ 99")


def test_a_config_change_shows_in_dagster_once_it_was_run(made: tuple[Place, str]) -> None:
    """Dagster knows no settings before a run is launched with them; `icd-assets status` does."""
    place, _ = made
    assert place.planned(RCE_LR="0.002")["rce_checkpoints"] == "config changed: rce_lr 0.001 → 0.002"
    assert place.unsynced() == {}
    place.run("rce_checkpoints", rce_checkpoints={"rce_lr": 0.002})
    assert set(place.unsynced()) == {"grpo_checkpoints", "v2format_checkpoint", "evaluation"}


def test_a_file_changed_by_hand_is_ours_to_notice(made: tuple[Place, str]) -> None:
    """Dagster does not look at files: the plan does, and so does the asset itself when it is materialized."""
    place, _ = made
    path = place.root / "demo/generated_data/rl_data_RandSampler_tiny_vl.json"
    before = path.read_bytes()
    path.write_bytes(before.replace(b'"vqa_correct": 1', b'"vqa_correct": 0', 1))
    assert "is no longer what rl_data wrote" in str(place.planned()["rl_data"])
    assert place.unsynced() == {}
    place.run("rl_data")
    assert path.read_bytes() == before
    assert place.planned() == {}


def test_another_cell_is_another_matter(made: tuple[Place, str]) -> None:
    place, _ = made
    resolver = CachingStaleStatusResolver(
        place.instance, place.defs.resolve_asset_graph(), LoadingContextForTest(place.instance)
    )
    other = KEY.replace("Rand", "Mix")
    assert resolver.get_status(dg.AssetKey("rl_data"), other).value == "MISSING"


def test_the_leaderboard_names_each_checkpoints_own_rl_data(made: tuple[Place, str]) -> None:
    place, first = made

    def rows() -> Any:
        shared = SharedResource(results_root=str(place.root))
        assert dg.materialize([leaderboard], resources={"shared": shared}, instance=place.instance).success
        return json.loads((place.root / "leaderboard.json").read_text(encoding="utf-8"))

    (before,) = rows()
    assert before["recommended"].endswith("grpo_epoch3_v2format.ckpt")
    assert (before["score_of"], before["rl_data_run"], before["score"]) == ("this checkpoint", first, 0.5)
    NOTES["rl_data"] = "other answers"
    second = place.run("rl_data", rl_data={"force": True})
    assert rows() == [before]  # new RL data that nothing learned from yet
    place.run("rce_checkpoints", "grpo_checkpoints")
    assert rows() == [before]  # and nothing is converted of what learned from them
    place.run("v2format_checkpoint")
    (after,) = rows()
    assert (after["score_of"], after["rl_data_run"]) == ("an earlier checkpoint", second)
    assert after["rl_data_version"] != before["rl_data_version"]
    (place.root / "demo/icl_inference/v3_RandSampler_tiny_vl/evaluation.manifest.json").unlink()
    (unseen,) = rows()
    assert (unseen["score_of"], unseen["score"], unseen["rl_data_run"]) == ("not evaluated yet", None, second)
