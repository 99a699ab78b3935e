"""``--json``: one object with ``schema`` and the keys of the page Commands; nothing else on stdout."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from icd_assets.cli import group
from icd_assets_tests.worlds.commands import Run
from icd_assets_tests.worlds.manifests import KEY, World
from icd_assets_tests.worlds.workplace import ROOT, Workplace

COMMANDS = {
    "status": ("status",),
    "why": ("why", "rl_data", KEY),
    "diff": ("diff", KEY, "d0|MixSampler/m0"),
    "lineage": ("lineage", KEY),
    "settings": ("settings", "rl_data", KEY),
    "verify": ("verify",),
    "prune": ("prune",),
    "adopt": ("adopt", "results", "--dry-run"),
}


def documented() -> dict[str, set[str]]:
    """command → keys, from the table of the page."""
    text = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w -]+) --json` \| \d+ \| (.+) \|$", text, re.MULTILINE)
    plain = {name: keys.partition("; with `--seeds`")[0] for name, keys in rows}
    return {name: {"schema", *re.findall(r"`(\w+)`", keys)} for name, keys in plain.items()}


def keys(document: Any) -> set[str]:
    return set(document)


def test_every_command_with_a_table_has_it_and_is_documented() -> None:
    with_json = {
        name
        for name, command in group.commands.items()
        if any("--json" in option.opts for option in command.params)
    }
    assert with_json == {name.split()[0] for name in documented()}
    elsewhere = {"train", "evaluation", "doctor", "headroom", "select", "compare", "leaderboard", "publish"}
    elsewhere |= {"push", "pull"}
    assert set(COMMANDS) | elsewhere == with_json


@pytest.mark.parametrize("name", COMMANDS)
def test_its_keys_are_those_of_the_page(
    world: World, run: Run, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    world.cell()
    world.cell("d0|MixSampler/m0")
    monkeypatch.setenv("RCE_EPOCH", "3")
    ended = run(*COMMANDS[name], "--json")
    assert ended.code == 0, ended.error
    assert keys(json.loads(ended.output)) == documented()[name]


@pytest.mark.parametrize("words", [("status", "d9"), ("why", "x", KEY), ("lineage", "x"), ("diff", "x", "y")])
def test_a_mistake_leaves_stdout_empty(world: World, run: Run, words: tuple[str, ...]) -> None:
    ended = run(*words, "--json")
    assert (ended.code, ended.output) == (2, "")
    assert ended.error


def test_a_plan(workplace: Workplace) -> None:
    ended = workplace.run(
        "train", "demo|RandSampler/tiny_vl", "--dry-run", "--json", "--to", "rl_data", RCE_EPOCH="3"
    )
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert keys(found) == documented()["train --dry-run"]
    assert found["cell"] == "demo|RandSampler/tiny_vl"
    assert found["to_make"] == ["candidate_pools", "beam_data", "v2_checkpoint", "embeddings", "rl_data"]
    assert all(set(step) == {"asset", "to_make", "reason", "origin", "manifest"} for step in found["steps"])
    assert "RCE_EPOCH is set, but is no setting; did you mean RCE_EPOCHS?" in ended.stderr
    refused = workplace.run("train", "demo", "rand_sampler", "tiny_vl", "--json")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "give --dry-run too" in refused.stderr


def test_a_plan_with_something_in_its_way_is_shown_and_refused(workplace: Workplace) -> None:
    words = ("demo", "rand_sampler", "tiny_vl", "--use-ppo-clip", "--kl-beta", "0.1", "--grpo-epochs", "1")
    ended = workplace.run("train", *words, "--dry-run", "--json")
    assert ended.returncode == 2
    found = json.loads(ended.stdout)
    assert any(one["level"] == "problem" and "KL" in one["found"] for one in found["findings"])
    assert "KL" in ended.stderr


def test_an_evaluation(trained: tuple[Workplace, str]) -> None:
    place, _ = trained
    ended = place.run("evaluation", "demo|RandSampler/tiny_vl", "--json")
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert keys(found) == documented()["evaluation"]
    written = json.loads(Path(found["file"]).read_text(encoding="utf-8"))
    assert found["comparison"]["num_queries"] == written["num_queries"]
