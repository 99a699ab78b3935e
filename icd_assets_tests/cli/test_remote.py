"""``push``, ``pull``, and ``status`` and ``prune`` with ``--remote``, as commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from icd_assets_tests.cli.test_json import documented, keys
from icd_assets_tests.worlds.commands import Run
from icd_assets_tests.worlds.manifests import KEY, STEP_NAMES, World


@pytest.fixture
def address(tmp_path: Path) -> str:
    return str(tmp_path / "there")


def test_there_and_back(world: World, run: Run, address: str) -> None:
    world.cell()
    shown = run("push", KEY, "--remote", address, "--dry-run")
    assert shown.code == 0 and f"{len(STEP_NAMES)} would be pushed" in shown.output
    assert "holds no results" in run("pull", "--remote", address).error
    assert not Path(address).exists()
    assert f"{len(STEP_NAMES)} pushed" in run("push", "--remote", address).output
    assert f"the same here and there: {len(STEP_NAMES)}" in run("status", "--remote", address).output
    world.root.rename(world.folder / "away")
    assert f"only there (pull): {len(STEP_NAMES)}" in run("status", "--remote", address).output
    one = run("pull", KEY, "--only", "rl_data", "--remote", address)
    assert "1 pulled" in one.output and "generated_data/rl_data_" in one.output
    rest = run("pull", "--remote", address)
    assert f"{len(STEP_NAMES) - 1} pulled" in rest.output and "1 here already" in rest.output
    assert run("verify").code == 0
    assert "nothing to prune" in run("prune", "--remote", address, "--yes").output


def test_json(world: World, run: Run, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world.cell()
    monkeypatch.setenv("ICD_REMOTE", address)
    for word in ("push", "pull"):
        found = json.loads(run(word, "--json").output)
        assert keys(found) == documented()[word]
    status = json.loads(run("status", "--remote", address, "--json").output)
    assert set(status) == {"schema", "remote", "artifacts", "broken"}
    assert {one["state"] for one in status["artifacts"]} == {"same"}
    pruned = json.loads(run("prune", "--remote", address, "--json").output)
    assert set(pruned) == {"schema", "remote", "removed", "freed", "removals", "left_alone"}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("push",), "no remote is named"),
        (("pull", "--remote", "elsewhere"), "is no address"),
        (("push", "--remote", "s3://key:word@bucket"), "keys come from"),
        (("push", "--only", "nothing", "--remote", "/tmp/x"), "nothing"),
        (("push", "no|such/cell", "--remote", "/tmp/x"), "no"),
        (("status", "--remote", "/tmp/icd-assets-none", "--all"), "--all means nothing beside --remote"),
        (("prune", "--remote", "/tmp/icd-assets-none", "--keep", "3"), "--keep means nothing beside --remote"),
        (("prune", "--remote", "/tmp/icd-assets-none", "--older-than", "soon"), "--older-than"),
    ],
)
def test_a_mistake_is_one_sentence(
    run: Run, words: tuple[str, ...], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ICD_REMOTE", raising=False)
    ended = run(*words)
    assert (ended.code, ended.output) == (2, "")
    assert sentence in ended.error
    assert not Path("/tmp/icd-assets-none").exists()
