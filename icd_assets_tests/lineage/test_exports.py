"""in-toto statements and OpenLineage events have the form that their specifications ask for."""

from __future__ import annotations

import json
import re
import uuid
from datetime import datetime
from typing import Any

import pytest

from icd_assets_tests.lineage.test_lineage import RL
from icd_assets_tests.worlds.commands import Run
from icd_assets_tests.worlds.manifests import KEY, World, document

HEX = re.compile(r"[0-9a-f]{64}")


def lines(run: Run, form: str) -> list[Any]:
    ended = run("lineage", KEY, "--export", form)
    assert ended.code == 0, ended.error
    return [json.loads(line) for line in ended.output.splitlines()]


def test_in_toto(world: World, run: Run) -> None:
    world.cell()
    statements = lines(run, "in-toto")
    by_type = {one["predicate"]["buildDefinition"]["buildType"].split(":")[3]: one for one in statements}
    assert next(iter(by_type)) == "v2format_checkpoint"
    assert len(by_type) == len(statements) == 8
    for one in statements:
        assert set(one) == {"_type", "subject", "predicateType", "predicate"}
        assert one["_type"] == "https://in-toto.io/Statement/v1"
        assert one["predicateType"] == "https://slsa.dev/provenance/v1"
        assert all(HEX.fullmatch(subject["digest"]["sha256"]) for subject in one["subject"])
        definition, details = one["predicate"]["buildDefinition"], one["predicate"]["runDetails"]
        assert all(given["name"] and given["digest"] for given in definition["resolvedDependencies"])
        assert details["metadata"]["invocationId"] == "run-1"
        assert details["metadata"]["startedOn"] == "2026-01-02T03:59:58Z".replace("03:59", "02:59")
        assert details["metadata"]["finishedOn"] == "2026-01-02T03:00:00Z"
        assert re.fullmatch(r"urn:[a-z0-9-]+:.+", details["builder"]["id"])
    rl_data = document(world.root / f"{RL}.manifest.json")
    given = by_type["rce_checkpoints"]["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert {
        "name": f"rl_data/{RL}",
        "digest": {"sha256": rl_data["files"][0]["sha256"]},
        "annotations": {
            "data_version": rl_data["data_version"],
            "run_id": "run-1",
            "made": "2026-01-02T03:00:00+00:00",
        },
    } in given
    vlm = by_type["rl_data"]["predicate"]["buildDefinition"]["resolvedDependencies"][-1]
    assert vlm == {"name": "vlm", "digest": {"icdAssets": rl_data["want"]["inputs"]["vlm"]["data_version"]}}


def test_a_models_server_is_no_version_of_the_builder(
    world: World, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from icd_assets_tests.worlds import manifests as module

    server = {"vlm_engine": "vllm==0.11.0", "vlm_max_model_len": "4096"}
    monkeypatch.setattr(module, "ENVIRONMENT", {**module.ENVIRONMENT, **server})
    world.cell()
    for one in lines(run, "in-toto"):
        definition, details = one["predicate"]["buildDefinition"], one["predicate"]["runDetails"]
        assert server.items() <= definition["internalParameters"]["environment"].items()
        assert not server.keys() & details["builder"]["version"].keys()
    assert "the model's server: engine vllm==0.11.0, max_model_len 4096" in run("lineage", KEY).output


def test_openlineage(world: World, run: Run) -> None:
    world.cell()
    events = lines(run, "openlineage")
    assert [event["eventType"] for event in events] == ["START", "COMPLETE"] * 8
    made: set[str] = set()
    for event in events:
        assert set(event) == {
            *("eventType", "eventTime", "producer", "schemaURL", "run", "job", "inputs", "outputs")
        }
        datetime.fromisoformat(event["eventTime"])
        uuid.UUID(event["run"]["runId"])
        uuid.UUID(event["run"]["facets"]["parent"]["run"]["runId"])
        datasets = [*event["inputs"], *event["outputs"]]
        for dataset in datasets:
            assert dataset["namespace"] and dataset["name"]
            assert dataset["facets"]["version"]["datasetVersion"]
        for part in (event["run"], *datasets):
            for facet in part["facets"].values():
                assert facet["_producer"].startswith("urn:icd-assets:")
                assert re.fullmatch(r"https://openlineage\.io/spec/.+\.json#/\$defs/\w+", facet["_schemaURL"])
        # what an event consumes, an earlier one produced, under the same name
        names = {dataset["name"] for dataset in event["inputs"] if dataset["name"].startswith(KEY)}
        assert {name for name in names if not name.endswith(".encoder")} <= made
        made |= {dataset["name"] for dataset in event["outputs"]}
    assert len({event["run"]["runId"] for event in events}) == 8
