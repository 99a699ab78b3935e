"""Which cells are partitions: those with artifacts, those asked for, and those of an instance's past."""

from __future__ import annotations

import json
import multiprocessing
import shutil
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.errors import DagsterUnknownPartitionError

from icd_assets.defs.assets import RewardResource, SharedResource, partitions
from icd_assets.defs.assets.step_asset import step_asset
from icd_assets.defs.automation.sensors import cells
from icd_assets.defs.runs.known_cells import CELLS, add_cells, add_cells_of, cells_on_disk
from icd_assets.errors import UserError
from icd_assets.experiment.catalog import Catalog
from icd_assets.experiment.steps import STEP
from icd_assets.store.store import Store
from icd_assets_tests.worlds.manifests import World
from icd_assets_tests.worlds.postgres import postgres
from icd_assets_tests.worlds.workplace import ROOT

HOSTILE = [
    "",
    "a",
    "a|b",
    "a|b/c/d",
    "a||b/c",
    "|/",
    "demo|RandSampler/nobody",
    "x" * 10_000,
    "demo|../../tiny_vl",
]


def known(instance: dg.DagsterInstance) -> list[str]:
    return sorted(instance.get_dynamic_partitions(CELLS))


def test_a_cell_with_artifacts_is_one_and_a_mere_combination_is_none(
    world: World, instance: dg.DagsterInstance
) -> None:
    world.cell("d0|RandSampler/m0")
    catalog = Catalog.load()
    assert len(catalog.cells) > 1
    assert add_cells_of(instance, Store(world.root), catalog) == ["d0|RandSampler/m0"]
    assert add_cells_of(instance, Store(world.root), catalog) == []
    assert known(instance) == ["d0|RandSampler/m0"]


def test_what_no_manifest_of_ours_says_is_left_out(world: World, instance: dg.DagsterInstance) -> None:
    """Truncated, foreign, hostile: none of them stops the others."""
    world.cell("d0|RandSampler/m0")
    folder = world.root / "d0/generated_data"
    one = next(folder.glob("*.manifest.json"))
    content = json.loads(one.read_text(encoding="utf-8"))
    for index, key in enumerate(HOSTILE):
        (folder / f"{index}.manifest.json").write_text(json.dumps(content | {"cell": key}), encoding="utf-8")
    (folder / "cut.manifest.json").write_bytes(one.read_bytes()[:100])
    (folder / "foreign.manifest.json").write_text("[1]", encoding="utf-8")
    (folder / "binary.manifest.json").write_bytes(b"\xff\xfe\x00")
    assert set(cells_on_disk(Store(world.root), Catalog.load())) == {"d0|RandSampler/m0"}


def test_cells_that_the_catalog_names_are_asked_for(
    world: World, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    path = world.folder / "catalog.yaml"
    text = path.read_text(encoding="utf-8") + "\nautomation: {new_inputs: {cells: ['d0|MixSampler/m0']}}\n"
    path.write_text(text, encoding="utf-8")
    add_cells_of(instance, Store(world.root), Catalog.load())
    assert known(instance) == ["d0|MixSampler/m0"]


def test_the_history_of_an_instance_from_before_still_shows(world: World) -> None:
    """Partitions were the product of two static dimensions: their events have the same keys."""
    key = dg.MultiPartitionKey({"dataset": "d0", "sampler_model": "RandSampler/m0"})
    old = dg.MultiPartitionsDefinition(
        {
            "dataset": dg.StaticPartitionsDefinition(["d0", "d1"]),
            "sampler_model": dg.StaticPartitionsDefinition(["RandSampler/m0", "MixSampler/m0"]),
        }
    )

    @dg.asset(name="rl_data", partitions_def=old)
    def before() -> None: ...

    with dg.DagsterInstance.ephemeral() as instance:
        assert dg.materialize([before], partition_key=key, instance=instance).success
        add_cells_of(instance, Store(world.root), Catalog.load())
        assert known(instance) == ["d0|RandSampler/m0"]
        node = dg.Definitions(
            assets=[step_asset(STEP["rl_data"])],
            resources={"shared": SharedResource(), "reward": RewardResource()},
        ).resolve_asset_graph()
        assert node.get(dg.AssetKey("rl_data")).partitions_def == partitions
        assert instance.get_materialized_partitions(dg.AssetKey("rl_data")) == set(known(instance))
        # what a user takes away afterwards stays away
        instance.delete_dynamic_partition(CELLS, key)
        add_cells(instance, ["d1|RandSampler/m0"])
        add_cells_of(instance, Store(world.root), Catalog.load())
        assert known(instance) == ["d1|RandSampler/m0"]


def _add(home: str, barrier: multiprocessing.Barrier) -> None:  # type: ignore[valid-type]
    with dg.DagsterInstance.from_config(home) as instance:
        barrier.wait()  # type: ignore[attr-defined]
        for index in range(20):
            add_cells(instance, [f"d{index}|RandSampler/m0"])


def _added_at_once(home: Path) -> None:
    """Three processes, the same twenty cells."""
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert known(instance) == []
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(3)
    processes = [context.Process(target=_add, args=(str(home), barrier)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert len(known(instance)) == 20


@pytest.mark.slow
def test_processes_that_add_the_same_cells_at_once_all_succeed(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    _added_at_once(tmp_path)


@pytest.mark.slow
def test_so_do_they_in_postgresql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(ROOT / "docker/dagster.yaml", tmp_path)
    with postgres() as server:
        for name, value in server.items():
            monkeypatch.setenv(name, value)
        _added_at_once(tmp_path)


def test_another_process_that_adds_it_between_look_and_write(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_cells(instance, ["d0|RandSampler/m0"])
    monkeypatch.setattr(instance, "get_dynamic_partitions", lambda name: [])
    storage = instance.event_log_storage
    insert = type(storage).add_dynamic_partitions

    def blind(name: str, keys: list[str]) -> None:
        """As Dagster's own look before its insert sees it in a race."""
        from sqlalchemy.exc import IntegrityError

        if "d0|RandSampler/m0" in keys:
            raise IntegrityError("INSERT", {}, Exception("UNIQUE constraint failed"))
        insert(storage, name, keys)

    monkeypatch.setattr(storage, "add_dynamic_partitions", blind)
    add_cells(instance, ["d0|RandSampler/m0", "d1|RandSampler/m0"])
    monkeypatch.undo()
    assert known(instance) == ["d0|RandSampler/m0", "d1|RandSampler/m0"]


def test_the_sensor_looks_again_only_when_something_was_added(world: World, instance: dg.DagsterInstance) -> None:
    world.cell("d0|RandSampler/m0")

    def tick(cursor: str | None) -> tuple[str | None, str]:
        context = dg.build_sensor_context(instance=instance, cursor=cursor)
        result = cells(context)
        assert isinstance(result, dg.SkipReason)
        return context.cursor, str(result.skip_message)

    cursor, said = tick(None)
    assert said == "added: d0|RandSampler/m0"
    assert tick(cursor) == (cursor, "no artifact was added")
    world.cell("d0|MixSampler/m0")
    assert tick(cursor)[1] == "added: d0|MixSampler/m0"


@pytest.mark.parametrize("key", HOSTILE)
def test_a_key_that_names_no_cell_is_one_sentence(key: str, world: World) -> None:
    with pytest.raises(UserError, match="names no cell") as refused:
        Catalog.load().cell_of(key)
    assert len(str(refused.value)) < 700
    assert "\n" not in str(refused.value)


def test_another_spelling_is_answered_with_the_right_one(world: World) -> None:
    with pytest.raises(UserError, match=r"is spelled 'd0\|RandSampler/m0'"):
        Catalog.load().cell_of("d0_local|rand_sampler/m0")


def run(instance: dg.DagsterInstance, key: str) -> dg.ExecuteInProcessResult:
    defs = dg.Definitions(
        assets=[step_asset(STEP["candidate_pools"])],
        resources={"shared": SharedResource(), "reward": RewardResource()},
    )
    job = defs.resolve_implicit_global_asset_job_def()
    config = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    return job.execute_in_process(partition_key=key, instance=instance, raise_on_error=False, run_config=config)


def test_a_partition_that_a_user_added_with_a_typo_fails_in_one_sentence(
    world: World, instance: dg.DagsterInstance
) -> None:
    instance.add_dynamic_partitions(CELLS, ["d0|RandSampler/m9"])
    ended = run(instance, "d0|RandSampler/m9")
    assert not ended.success
    (failure,) = [event for event in ended.all_events if event.is_step_failure]
    said = failure.step_failure_data.user_failure_data
    assert said is not None and said.description is not None
    assert said.description.startswith("the partition 'd0|RandSampler/m9' names no cell: unknown model 'm9'")


def test_a_run_may_name_a_cell_of_the_catalog_that_is_none_yet(world: World, instance: dg.DagsterInstance) -> None:
    """``dagster asset materialize --partition`` cannot add one: the run does."""
    run(instance, "d0|RandSampler/m0")
    assert known(instance) == ["d0|RandSampler/m0"]
    with pytest.raises(DagsterUnknownPartitionError):
        run(instance, "d0|RandSampler/m9")
