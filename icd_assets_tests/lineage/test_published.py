"""``lineage.json`` of a published folder: the same chain elsewhere, and nothing that a foreign one could do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from icd_assets.lineage import Records
from icd_assets.lineage.chain import Artifact, Chains
from icd_assets.lineage.published import document_of, published_beside
from icd_assets.selector.config import SelectorConfig
from icd_assets.selector.model import new_policy
from icd_assets.selector.selector_file import write_selector
from icd_assets.store.store import Store
from icd_assets_tests.worlds.commands import Run
from icd_assets_tests.worlds.manifests import World


@pytest.fixture
def folder(world: World, tmp_path: Path) -> Path:
    """A checkpoint of a whole cell, with its lineage beside it, where no results are."""
    e = world.cell()
    chain = chain_of(world)
    out = tmp_path / "down"
    out.mkdir()
    shutil.copy(e.paths.epoch_checkpoint("grpo", 3), out / "x.pt")
    (out / "lineage.json").write_text(json.dumps(document_of([chain], world.store)), encoding="utf-8")
    return out


def chain_of(world: World) -> Artifact:
    manifest = world.experiment(GRPO_EPOCHS="3").manifest("v2format_checkpoint")
    assert manifest is not None
    return Chains(Records(world.store)).of(manifest)


def test_the_chain_is_the_same_elsewhere(world: World, folder: Path, tmp_path: Path) -> None:
    records = Records(Store(tmp_path / "nothing"), published_beside(folder / "x.pt"))
    held = records.holding(folder / "x.pt")
    assert held is not None and held.spec.asset == "grpo_checkpoints"
    found = {node.key: node for node in Chains(records).of(held).walk()}
    here = {node.key: node for node in chain_of(world).walk() if node.name != "v2format_checkpoint"}
    assert found.keys() == here.keys()
    for key, node in found.items():
        assert {n: g.key for n, g in node.inputs.items()} == {n: g.key for n, g in here[key].inputs.items()}
        assert node.config == here[key].config and node.created_at == here[key].created_at
        assert node.state == ("outside" if here[key].state == "outside" else "elsewhere")


def test_the_command_shows_it_and_exports_it(folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESULT_DIR", str(folder / "nothing"))
    shown = run("lineage", str(folder / "x.pt"))
    assert shown.code == 0 and "rl_data" in shown.output and "made elsewhere, says lineage.json" in shown.output
    exported = run("lineage", str(folder / "x.pt"), "--export", "in-toto")
    assets = {
        json.loads(line)["predicate"]["buildDefinition"]["buildType"] for line in exported.output.splitlines()
    }
    assert any("step:rl_data:" in one for one in assets)
    verified = run("lineage", str(folder / "x.pt"), "--verify")
    assert "not checked: rl_data" in verified.output and "it was made elsewhere" in verified.output


def test_what_is_known_here_is_shown_as_it_is(folder: Path, run: Run) -> None:
    found = json.loads(run("lineage", str(folder / "x.pt"), "--json").output)
    assert {node["state"] for node in found["artifacts"].values()} == {"current", "outside"}


def test_folders_of_the_machine_are_left_out(world: World) -> None:
    world.cell()
    chain = chain_of(world)
    behind = chain.behind("rl_data")
    assert behind is not None and behind.manifest is not None
    behind.manifest.spec.config["path"] = "/home/me/secret/rl.json"
    document = document_of([chain], world.store)
    (shared,) = [node for node in document["artifacts"].values() if node["name"] == "rl_data"]
    assert shared["config"]["path"] == "rl.json"
    assert "/home/me" not in json.dumps(document) and str(world.folder) not in json.dumps(document)


def changed(change: Callable[[Any], object]) -> Callable[[bytes], bytes]:
    def written(content: bytes) -> bytes:
        document = json.loads(content)
        change(document)
        return json.dumps(document).encode()

    return written


def node(document: Any, name: str) -> Any:
    (one,) = [one for one in document["artifacts"].values() if one["name"] == name]
    return one


def deep(document: Any) -> None:
    (first, *_) = document["artifacts"].values()
    for number in range(1000):
        behind = {"rl_data": f"x{number - 1}"} if number else {}
        document["artifacts"][f"x{number}"] = {**first, "data_version": f"v{number}", "inputs": behind}


BAD: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "truncated": lambda content: content[:-40],
    "binary": lambda _: b"\x80\x04\x95",
    "nested": lambda _: b"[" * 100_000,
    "a list": lambda _: b"[]",
    "another schema": changed(lambda d: d.update(schema=3)),
    "no artifacts": changed(lambda d: d.pop("artifacts")),
    "too many": changed(deep),
    "an unknown key": changed(lambda d: node(d, "rl_data")["inputs"].update(vlm="nothing")),
    "a path that climbs": changed(lambda d: node(d, "rl_data")["files"][0].update(path="../../x")),
    "no time": changed(lambda d: node(d, "rl_data").update(created_at="yesterday\x1b[31m")),
    "endless": changed(lambda d: node(d, "rl_data").update(seconds=1e300)),
    "no version": changed(lambda d: node(d, "rl_data").update(data_version=None)),
    "no digest": changed(lambda d: node(d, "rl_data").update(data_version="a b/../c")),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_lineage_that_is_none_is_one_sentence(folder: Path, run: Run, kind: str) -> None:
    path = folder / "lineage.json"
    path.write_bytes(BAD[kind](path.read_bytes()))
    ended = run("lineage", str(folder / "x.pt"))
    assert ended.code == 2 and str(path) in ended.error and "\n" not in ended.error and "\x1b" not in ended.error


def test_artifacts_that_name_each_other_are_refused(
    folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESULT_DIR", str(folder / "nothing"))

    def circle(document: Any) -> None:
        keys = {one["name"]: key for key, one in document["artifacts"].items()}
        node(document, "rl_data")["inputs"]["rce_checkpoints"] = keys["rce_checkpoints"]

    path = folder / "lineage.json"
    path.write_bytes(changed(circle)(path.read_bytes()))
    assert "name each other as inputs" in run("lineage", str(folder / "x.pt")).error


def test_hostile_texts_do_not_steer_the_terminal(folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESULT_DIR", str(folder / "nothing"))

    def steer(document: Any) -> None:
        for one in document["artifacts"].values():
            if one["cell"] is not None:
                one |= {"run_id": "\x1b[31mred", "config": {"seed": "\x1b]0;x\x07"}, "cell": "\u202ex"}

    path = folder / "lineage.json"
    path.write_bytes(changed(steer)(path.read_bytes()))
    ended = run("lineage", str(folder / "x.pt"))
    assert ended.code == 0 and not any(c in ended.output for c in "\x1b\x07\u202e")


def test_without_it_a_file_is_as_before(folder: Path, tmp_path: Path) -> None:
    (folder / "lineage.json").unlink()
    assert published_beside(folder / "x.pt") == []
    assert published_beside(tmp_path / "not there.pt") == []


def test_a_selectors_folder_alone_names_its_inputs(tmp_path: Path, run: Run) -> None:
    lineage = {"asset": "rl_selector", "code_version": "1", "config_digest": "a1", "inputs": {"rl_data": "b2c3"}}
    policy = new_policy(SelectorConfig(embedding_dim=12, hidden_dim=8), 0)
    write_selector(tmp_path, policy, stage="rl", encoder_digest="e", lineage=lineage)
    for name in ("config.json", "model.safetensors"):
        found = json.loads(run("lineage", str(tmp_path / name), "--json").output)
        assert {one["name"]: one["data_version"] for one in found["artifacts"].values()} == {
            "rl_selector": None,
            "rl_data": "b2c3",
        }
    (tmp_path / "config.json").write_text("{", encoding="utf-8")
    refused = run("lineage", str(tmp_path / "model.safetensors"))
    assert refused.code == 2 and "config.json is no whole JSON file" in refused.error
