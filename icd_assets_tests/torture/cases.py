"""The matrix: each asset, at four moments, hit in three ways."""

from __future__ import annotations

from typing import Any

Case = dict[str, Any]

# asset → the function in whose n-th call it is half-way through its work
_MIDWAY: dict[str, tuple[str, int]] = {
    "candidate_pools": ("icd_assets.pools.files:write_pools", 1),
    "beam_data": ("icd_assets.vlm.answer_store:AnswerStore.add", 10),
    "v2_checkpoint": ("icd_assets.store.journal:Journal.write", 3),
    "embeddings": ("icd_assets.selector.embedding_file:write_embeddings", 2),
    "single_labels": ("icd_assets.vlm.answer_store:AnswerStore.add", 3),
    "singles_selector": ("icd_assets.store.journal:Journal.write", 3),
    "step_labels": ("icd_assets.vlm.answer_store:AnswerStore.add", 3),
    "sequence_selector": ("icd_assets.store.journal:Journal.write", 3),
    "rl_queries": ("icd_assets.pools.rl_query_file:write_rl_queries", 1),
    "rl_data": ("icd_assets.vlm.answer_store:AnswerStore.add", 3),
    "rl_selector": ("icd_assets.store.journal:Journal.write", 3),
    "rce_checkpoints": ("icd_assets.store.journal:Journal.write", 3),
    "grpo_checkpoints": ("icd_assets.store.journal:Journal.write", 2),
    "v2format_checkpoint": ("icd_assets.selector.v2_file:write_v2format", 1),
    "evaluation": ("icd_assets.vlm.answer_store:AnswerStore.add", 10),
}
_WAYS = ("kill", "kill_parent", "fill")
_OF_LABELS = ("single_labels", "singles_selector", "step_labels", "sequence_selector", "rl_queries", "rl_selector")


def recipe_of(case: Case) -> str:
    """The recipe of the chain that a case's asset is made in; what both have is struck in Lever-Plus'."""
    return "rl" if case["asset"] in _OF_LABELS else "beams"


def _moments(asset: str, way: str) -> dict[str, Case]:
    if asset == "leaderboard":  # a table of what is there: no staging folder, no manifest
        module = "icd_assets.defs.assets.leaderboard"
        return {
            "before start": {"place": f"{module}:_row"},
            "mid-way": {"place": f"{module}:write_atomic"},
            "data, no manifest": {"place": "pathlib:Path.replace", "matching": "leaderboard.json"},
            "manifest, no event": {"place": f"{module}:write_atomic", "after": True},
        }
    place, nth = _MIDWAY[asset]
    # A rename needs no space: the last moment at which a full disk matters is the start of the commit.
    last = (
        {"place": "icd_assets.store.store:Store.commit"}
        if way == "fill"
        else {"place": "pathlib:Path.replace", "matching": ".json.pending", "nth": 2}
    )
    return {
        "before start": {"place": "icd_assets.store.store:Store.staging"},
        "mid-way": {"place": place, "nth": nth},
        "data, no manifest": last,
        "manifest, no event": {"place": "icd_assets.store.store:Store.commit", "after": True},
    }


def _case(asset: str, moment: str, way: str, fault: Case) -> Case:
    return {"name": f"{asset}: {moment}: {way}", "asset": asset, "fault": {**fault, "then": way}}


MATRIX: list[Case] = [
    _case(asset, moment, way, fault)
    for asset in (*_MIDWAY, "leaderboard")
    for way in _WAYS
    for moment, fault in _moments(asset, way).items()
]


def _midway(asset: str, way: str, **more: Any) -> Case:
    place, nth = _MIDWAY[asset]
    return _case(asset, "mid-way", way, {"place": place, "nth": nth}) | more


# Beyond the matrix: other ways to end, Dagster's own history on the full disk, files half moved.
MORE: list[Case] = [
    _midway("beam_data", "term"),
    _midway("beam_data", "term_unheard"),
    _midway("rce_checkpoints", "memory"),
    _midway("rl_data", "eio"),
    _midway("rl_data", "fill", all_on_disk=True, name="rl_data: mid-way: fill, and Dagster's history with it"),
    _case(
        "rce_checkpoints",
        "one of three files moved",
        "kill",
        {"place": "pathlib:Path.replace", "matching": "rce_epoch2.pt"},
    ),
]

_BY_NAME = {case["name"]: case for case in [*MATRIX, *MORE]}
# Runs with every test run: each moment, each way, each kind of asset.
OFTEN = [
    _BY_NAME[name]
    for name in (
        "candidate_pools: before start: kill",
        "beam_data: mid-way: kill",
        "beam_data: mid-way: term",
        "beam_data: mid-way: term_unheard",
        "rl_data: mid-way: fill, and Dagster's history with it",
        "v2_checkpoint: mid-way: kill",
        "rce_checkpoints: mid-way: kill_parent",
        "grpo_checkpoints: data, no manifest: kill",
        "single_labels: mid-way: kill",
        "step_labels: mid-way: kill",
        "sequence_selector: mid-way: kill_parent",
        "rl_selector: data, no manifest: kill",
        "v2format_checkpoint: manifest, no event: kill",
    )
]
