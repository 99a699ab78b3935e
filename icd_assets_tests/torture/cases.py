"""The matrix: each asset, at four moments, hit in three ways; and other ways to be hit, at fewer moments."""

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

_ASSETS = (*_MIDWAY, "leaderboard")


def _at(asset: str, moment: str, way: str, note: str = "", **more: Any) -> Case:
    """One of the four moments; of ``more`` what is a fault's goes there."""
    fault = _moments(asset, "fill" if way in ("inodes", "readonly") else way)[moment]
    fault |= {name: more.pop(name) for name in ("again_at", "in_worker", "every") if name in more}
    name = f"{asset}: {moment}: {way}" + (f", {note}" if note else "")
    return _case(asset, moment, way, fault) | {"name": name} | more


def _of_dagster(asset: str, moment: str, way: str, by: str, **more: Any) -> Case:
    name = f"by dagster {'asset materialize' if by == 'materialize' else 'job execute'}"
    job = {"job": "rl_recipe" if asset in _OF_LABELS else "grpo_recipe"} if by == "job" else {}
    return _at(asset, moment, way, name, by=by, **job, **more)


# Stopped for a while, as by Ctrl-Z, by a batch system, by a laptop's lid; another command comes meanwhile.
STOPPED: list[Case] = [
    *(_at(asset, "mid-way", "stop", meanwhile="waits", for_seconds=2.0) for asset in _ASSETS),
    *(
        _at(asset, "mid-way", "stop", "then killed", meanwhile="goes on")
        for asset in ("candidate_pools", "beam_data", "rce_checkpoints", "step_labels", "evaluation")
    ),
    _at("rce_checkpoints", "data, no manifest", "stop", "then killed", meanwhile="goes on"),
    _at("rl_data", "manifest, no event", "stop", meanwhile="waits"),
    _of_dagster("beam_data", "mid-way", "stop", "materialize", meanwhile="waits", for_seconds=2.0),
]

# Ctrl-C of an impatient user, of a terminal (the whole group), and a terminal that is closed.
INTERRUPTED: list[Case] = [
    *(
        _at(asset, "mid-way", "int_twice", f"again at {place.partition(':')[2]}", again_at=place)
        for place in (
            "dagster._core.instance:DagsterInstance.handle_new_event",
            "dagster._core.instance:DagsterInstance.report_run_failed",
            "icd_assets.cli.step_lines:StepLines.__exit__",
            "icd_assets.cli.launch:problem",
            "icd_assets.cli.ending:leave",
            "shutil:rmtree",
        )
        for asset in ("candidate_pools", "beam_data", "rce_checkpoints", "single_labels")
    ),
    *(_at(asset, "mid-way", way) for asset in _ASSETS for way in ("int_group", "hup_group")),
    *(_at("rl_data", moment, way) for moment in _moments("rl_data", "int") for way in ("int", "hup")),
    *(
        _of_dagster(asset, "mid-way", way, by)
        for asset in ("beam_data", "rce_checkpoints", "single_labels")
        for way in ("int_group", "term_group", "hup_group")
        for by in ("materialize", "job")
    ),
]

# The run worker, one of its steps, or all of them at once.
_BEFORE_STEPS = {
    "run created": {"place": "dagster._core.instance:DagsterInstance.create_run_for_job", "after": True},
    "run started": {"place": "dagster._core.instance:DagsterInstance.handle_new_event", "nth": 2},
    "first step started": {"place": "dagster._core.instance:DagsterInstance.handle_new_event", "nth": 6},
}
OF_DAGSTER: list[Case] = [
    *(
        _of_dagster(asset, moment, way, by)
        for asset, moment in (
            ("candidate_pools", "before start"),
            ("beam_data", "mid-way"),
            ("rce_checkpoints", "data, no manifest"),
            ("grpo_checkpoints", "mid-way"),
            ("single_labels", "mid-way"),
            ("rl_selector", "manifest, no event"),
        )
        for way in ("kill", "kill_parent", "kill_group")
        for by in ("materialize", "job")
        if (way, by) != ("kill_parent", "materialize")  # of the matrix
    ),
    *(
        _case("beam_data", moment, "kill_group", fault | {"in_worker": True})
        | {"name": f"beam_data: {moment}: kill_group, by dagster {by}", "by": by, "job": "grpo_recipe"}
        for moment, fault in _BEFORE_STEPS.items()
        for by in ("materialize", "job")
    ),
]

CLOCKS: list[Case] = [
    *(_at(asset, "mid-way", way) for asset in _ASSETS for way in ("clock_hour", "clock_day")),
    *(_at(asset, "before start", "clock_day") for asset in ("candidate_pools", "rl_data", "leaderboard")),
    *(_at(asset, "data, no manifest", "clock_day") for asset in ("rce_checkpoints", "evaluation", "leaderboard")),
]

_WRITES = {  # a place that writes each kind of file
    "a folder": {"place": "pathlib:Path.mkdir", "matching": "results"},
    "a file": {"place": "icd_assets.store.atomic:write_atomic"},
    "an answer": {"place": "icd_assets.vlm.answer_store:AnswerStore.add", "nth": 3},
}
DISKS: list[Case] = [
    *(_at(asset, "mid-way", way) for asset in _ASSETS for way in ("inodes", "readonly")),
    *(
        _at(asset, moment, way)
        for asset in ("candidate_pools", "rl_data", "rce_checkpoints", "leaderboard")
        for moment in ("before start", "data, no manifest", "manifest, no event")
        for way in ("inodes", "readonly")
    ),
    _midway("rl_data", "inodes", all_on_disk=True, name="rl_data: mid-way: inodes, and Dagster's history with it"),
    *(
        _case("beam_data", f"at {place}", way, fault)
        for place, fault in _WRITES.items()
        for way in ("edquot", "enospc", "erofs")
    ),
]

# A file system without locks, from the first on that is asked for.
LOCKS: list[Case] = [
    _case(asset, "any lock", way, {"place": "fcntl:flock", "every": True})
    for asset in ("candidate_pools", "rl_data", "leaderboard")
    for way in ("enotsup", "enolck", "enosys")
]

ALL = [*MATRIX, *MORE, *STOPPED, *INTERRUPTED, *OF_DAGSTER, *CLOCKS, *DISKS, *LOCKS]
_BY_NAME = {case["name"]: case for case in ALL}
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
        "beam_data: mid-way: stop",
        "beam_data: mid-way: int_twice, again at DagsterInstance.handle_new_event",
        "beam_data: mid-way: hup_group",
        "candidate_pools: mid-way: clock_day",
        "candidate_pools: mid-way: inodes",
        "candidate_pools: mid-way: readonly",
        "candidate_pools: any lock: enotsup",
    )
]
