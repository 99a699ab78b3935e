"""The examples for clusters: each field is one of Kubernetes', what they name is there, no port is open to all."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from icd_assets.experiment.misspelt_variables import PLACES, known_variables
from icd_assets_tests.worlds.workplace import ROOT

FILES = ("docker/kubernetes.yaml", "docker/vllm.yaml")
PROGRAMS = {"icd-assets", "dagster-daemon", "python"}


def objects(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((ROOT / name).read_text(encoding="utf-8")))


EVERY = [(name, found) for name in FILES for found in objects(name)]


def pods(name: str) -> Iterator[dict[str, Any]]:
    yield from (found["spec"]["template"]["spec"] for found in objects(name) if has(found, "template"))


def composed(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker" / name).read_text(encoding="utf-8"))
    return found


def has(found: dict[str, Any], field: str) -> bool:
    return field in found.get("spec", {})


def test_every_field_is_one_of_kubernetes() -> None:
    """Against the client's own models, which are made from Kubernetes' OpenAPI document."""
    client = pytest.importorskip("kubernetes.client")

    def check(value: Any, kind: str, where: str) -> None:
        if (inner := re.fullmatch(r"(?:[Ll]ist\[|[Dd]ict[\[(]str, )(.+)[\])]", kind)) is not None:
            assert isinstance(value, list if kind.lower().startswith("list") else dict), (where, kind)
            for at, one in enumerate(value) if isinstance(value, list) else value.items():
                check(one, inner[1], f"{where}.{at}")
        elif kind in ("str", "int", "bool", "float"):
            assert type(value).__name__ == kind, (where, value)
        elif kind != "object":
            model = getattr(client, kind)
            fields = {json: name for name, json in model.attribute_map.items()}
            assert isinstance(value, dict) and not value.keys() - fields.keys(), (where, value)
            for json, one in value.items():
                check(one, model.openapi_types[fields[json]], f"{where}.{json}")
            made = {fields[json]: one for json, one in value.items()}
            model(**made)  # raises for a field that must be there

    def kind_of(found: dict[str, Any]) -> str:
        return f"{found['apiVersion'].rpartition('/')[2].capitalize()}{found['kind']}"

    for name, found in EVERY:
        check(found, kind_of(found), f"{name} {found['kind']}")
    for broken in ({"spce": {}}, {"spec": {"ports": [{"prot": 1}]}}, {"spec": {"ports": [{}]}}):
        with pytest.raises((AssertionError, ValueError)):
            check({"apiVersion": "v1", "kind": "Service", **broken}, "V1Service", "")


def test_what_the_manifests_name_is_there() -> None:
    claims = {one["metadata"]["name"] for _, one in EVERY if one["kind"] == "PersistentVolumeClaim"}
    maps = {one["metadata"]["name"]: one["data"] for _, one in EVERY if one["kind"] == "ConfigMap"}
    labels = [one["spec"]["template"].get("metadata") for _, one in EVERY if has(one, "template")]
    for _, one in EVERY:
        assert one["metadata"]["namespace"] == "icd-assets"
        if one["kind"] == "Service":
            assert {"labels": one["spec"]["selector"]} in labels
        elif has(one, "selector"):
            assert one["spec"]["selector"]["matchLabels"] == one["spec"]["template"]["metadata"]["labels"]
    for name in FILES:
        for pod in pods(name):
            volumes = {one["name"]: one for one in pod["volumes"]}
            assert {
                one["persistentVolumeClaim"]["claimName"]
                for one in volumes.values()
                if "persistentVolumeClaim" in one
            } <= claims
            for container in [*pod.get("initContainers", []), *pod["containers"]]:
                assert {one["name"] for one in container.get("volumeMounts", [])} <= volumes.keys()
                assert all(one["configMapRef"]["name"] in maps for one in container.get("envFrom", []))
                if container["image"] == "icd-assets":
                    assert container["command"][0] in PROGRAMS
                    assert (Path(sys.executable).parent / container["command"][0]).is_file()
    given = {*maps["icd"], "POSTGRES_PASSWORD", "PGPASSWORD"}
    ours = {*PLACES, *known_variables({})} | {"HF_HOME", "PGPASSWORD"}
    assert {name for name in given - ours if not name.startswith("POSTGRES_")} == set()
    dagster = (ROOT / "docker/dagster.yaml").read_text(encoding="utf-8")
    assert set(re.findall(r"env: (\w+)", dagster)) <= given


def test_no_port_is_open_to_all_and_no_password_stands_here() -> None:
    for name, one in EVERY:
        text = yaml.safe_dump(one)
        assert not re.search("NodePort|LoadBalancer|hostPort|hostNetwork|externalIPs|privileged|hostPath", text), (
            name
        )
        assert one["kind"] != "Ingress" and one["kind"] != "Secret"
    policies = [one["spec"] for _, one in EVERY if one["kind"] == "NetworkPolicy"]
    assert policies == [
        {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": [{"podSelector": {}}]}]}
    ]
    for name in FILES:
        assert all(pod["automountServiceAccountToken"] is False for pod in pods(name))
    assert not re.search(r"://[^/\s]*:[^/\s]*@", "".join((ROOT / name).read_text() for name in FILES))
    compose = composed("compose.yaml")
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert ports and all(port.startswith("127.0.0.1:") for port in ports)
    waiting = compose["x-icd"]["depends_on"]
    assert waiting["tables"] == {"condition": "service_completed_successfully"}
    assert "tables" not in compose["services"]["tables"]["depends_on"]


def slurm(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """With a program of that name in the place of ours, which prints what it is given."""
    program = folder / "icd-assets"
    program.write_text('#!/bin/bash\nprintf "<%s>" "$@"\n')
    program.chmod(0o755)
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", **variables}
    return subprocess.run(
        ["bash", ROOT / "docker/slurm.sh", *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )


def test_slurm_trains_the_cell_of_its_line(tmp_path: Path) -> None:
    (tmp_path / "cells.txt").write_text("demo|RandSampler/tiny_vl\ndemo|TextSimSampler/tiny_vl\n")
    second = slurm(tmp_path, "cells.txt", SLURM_ARRAY_TASK_ID="2")
    assert (second.stdout, second.returncode) == ("<train><demo|TextSimSampler/tiny_vl>", 0)
    assert slurm(tmp_path, "cells.txt", SLURM_ARRAY_TASK_ID="3").returncode == 2
    for wrong in (slurm(tmp_path, "cells.txt"), slurm(tmp_path, SLURM_ARRAY_TASK_ID="1")):
        assert wrong.returncode != 0 and not wrong.stdout and wrong.stderr.count("\n") == 1


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="needs shellcheck")
def test_shellcheck() -> None:
    subprocess.run(["shellcheck", ROOT / "docker/slurm.sh"], check=True)


def test_rays_nodes_are_reached_by_nobody_else() -> None:
    beside, plain = composed("compose.ray.yaml"), composed("compose.yaml")
    daemon, workers = beside["services"]["daemon"], beside["services"]["ray"]
    assert not any("ports" in service for service in beside["services"].values())
    assert beside["networks"] == {"ray": {"internal": True}}
    assert workers["networks"] == ["ray"] and daemon["networks"] == ["default", "ray"]
    address = daemon["environment"]["RAY_ADDRESS"]
    assert address.partition(":")[0] == daemon["hostname"]
    assert f"--address={address}" in workers["command"]
    assert f"--port={address.partition(':')[2]}" in daemon["command"][2]
    assert daemon["command"][2].endswith(" ".join(plain["services"]["daemon"]["command"]))
    # What a worker reads lies where the daemon's is.
    assert {volume.removesuffix(":ro") for volume in workers["volumes"]} <= set(plain["x-icd"]["volumes"])
    extras = daemon["build"]["args"]["EXTRAS"].split(",")
    assert "ARG EXTRAS=" in (ROOT / "docker/Dockerfile").read_text(encoding="utf-8")
    known = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]
    assert set(extras) <= known.keys() and "ray" in extras
