"""What we write goes back into Lever-Plus' scripts: what its readers rest on, as facts about our files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from icd_assets.selector.config import SelectorConfig
from icd_assets.selector.key_names import expected_shapes, older_names
from icd_assets.selector.model import new_policy
from icd_assets.selector.v2_file import V2Checkpoint, write_v2, write_v2format
from icd_assets.selector.v3_file import V3Checkpoint, write_v3
from icd_assets_tests.worlds.lever_plus import module_of
from icd_assets_tests.worlds.workplace import Workplace

CONFIG = SelectorConfig(embedding_dim=12, hidden_dim=8)
TODAY = list(expected_shapes(CONFIG))
THREE_LAYERS = list(expected_shapes(CONFIG.model_copy(update={"num_layers": 3})))
OLDER = [
    name.replace("cross_attn_layers.0.", "cross_attn.").replace("attn_norms.0.", "attn_norm.")
    for name in TODAY
    if "gate" not in name
]
P = "lever_lm.pointer_selector."


def state() -> dict[str, Tensor]:
    return dict(new_policy(CONFIG, 0).state_dict())


def selector() -> V3Checkpoint:
    return V3Checkpoint(2, "rce", state(), 0.1, {"val_loss": 1.0}, {"rl_data": "abc"})


def only_older() -> dict[str, Tensor]:
    """Upstream's conversion renames, it does not add."""
    kept = {name: tensor for name, tensor in state().items() if not name.startswith(("cross_attn_", "attn_norms"))}
    return kept | older_names(state())


def prefixed(names: Mapping[str, Tensor]) -> dict[str, Any]:
    return {"state_dict": {P + name: tensor for name, tensor in names.items()}}


# How each form of SPEC L.3 comes about: f1, f3 and f5 are written by us, f2 and f4 as others write them.
FORMS: dict[str, Callable[[Path], object]] = {
    "f1": lambda path: write_v2(path, V2Checkpoint(state())),
    "f2": lambda path: torch.save(prefixed(only_older()), path),
    "f3": lambda path: write_v3(path, selector()),
    "f4": lambda path: torch.save(prefixed(state() | older_names(state())), path),
    "f5": lambda path: write_v2format(path, selector(), lineage={}),
}


def without(prefixes: tuple[str, ...], names: Mapping[str, Any]) -> dict[str, Any]:
    for prefix in prefixes:
        names = {name.replace(prefix, ""): tensor for name, tensor in names.items()}
    return dict(names)


def standard(content: Mapping[str, Any]) -> dict[str, Any]:
    """SPEC L.2 (d): the dict under ``state_dict``, else the file's, without the text ``lever_lm.``."""
    return without(("lever_lm.",), content.get("state_dict", content))


def post_train(content: Mapping[str, Any]) -> dict[str, Any]:
    """SPEC K: ``model_state_dict`` as it is; else both prefixes off and the older names mapped."""
    if "model_state_dict" in content:
        return dict(content["model_state_dict"])
    bare = without(("lever_lm.", "pointer_selector."), content["state_dict"])
    mapped = {name.replace("cross_attn.", "cross_attn_layers.0."): tensor for name, tensor in bare.items()}
    return {name.replace("attn_norm.", "attn_norms.0."): tensor for name, tensor in mapped.items()}


def rl_generator(content: Mapping[str, Any]) -> dict[str, Any]:
    """SPEC G.1: only ``lever_lm.`` is taken off."""
    return without(("lever_lm.",), content.get("model_state_dict", content.get("state_dict", {})))


def from_sft(content: Mapping[str, Any]) -> dict[str, Any]:
    return without(("lever_lm.", "pointer_selector."), content.get("state_dict", {}))


# Each reader's names, and what it looks for among them.
READERS: dict[str, tuple[Callable[[Mapping[str, Any]], dict[str, Any]], list[str]]] = {
    "today's class": (standard, [f"pointer_selector.{name}" for name in TODAY]),
    "older class": (standard, [f"pointer_selector.{name}" for name in OLDER]),
    "grpo_post_train": (post_train, TODAY),
    "RL generator": (rl_generator, THREE_LAYERS),
    "load_v3_from_sft_checkpoint": (from_sft, THREE_LAYERS),
}


@pytest.mark.parametrize(
    ("form", "loaded"),
    [
        ("f1", (11, 3, 11, 0, 11)),
        ("f2", (5, 9, 11, 0, 5)),
        ("f3", (0, 0, 11, 11, 0)),
        ("f4", (11, 9, 11, 0, 11)),
        ("f5", (11, 9, 11, 11, 11)),
    ],
)
def test_the_table_of_what_each_reader_loads(tmp_path: Path, form: str, loaded: tuple[int, ...]) -> None:
    """SPEC L.3: only f5, which we convert to, gives every reader all that it can take."""
    assert [len(names) for _, names in READERS.values()] == [11, 9, 11, 23, 23]
    path = tmp_path / ("rce_epoch3.pt" if form == "f3" else "rce_epoch3_v2format.ckpt")
    FORMS[form](path)
    content = torch.load(path, weights_only=True)
    found = [read(content) for read, _ in READERS.values()]
    counts = [sum(name in f for name in names) for f, (_, names) in zip(found, READERS.values(), strict=True)]
    assert tuple(counts) == loaded
    own = {**state(), **only_older()}
    for names in found:
        for name, tensor in names.items():
            if (bare := name.removeprefix("pointer_selector.")) in own:
                assert torch.equal(tensor, own[bare])


def test_a_converted_file_diverts_no_loader(tmp_path: Path) -> None:
    path = tmp_path / "grpo_epoch3_v2format.ckpt"
    write_v2format(path, selector(), lineage={})
    content = torch.load(path, weights_only=True)
    assert "model_type" not in content  # any that begins with v4 loads another class
    assert list(content["hyper_parameters"]) == ["lr", "weight_decay", "warm_steps"]
    tensors = [*content["state_dict"].values(), *content["model_state_dict"].values()]
    assert all(t.dtype is torch.float32 and t.is_contiguous() and t.device.type == "cpu" for t in tensors)


# ---- what a whole run leaves -------------------------------------------------------------------------

Trained = tuple[Workplace, str]


@pytest.fixture(scope="module")
def results(trained: Trained) -> Path:
    return trained[0].results / "demo"


@pytest.mark.slow
def test_rl_data_as_upstreams_scripts_expect_them(results: Path) -> None:
    text = (results / "generated_data/rl_data_RandSampler_tiny_vl.json").read_text(encoding="utf-8")
    content = json.loads(text)
    *keys, last = content
    assert last == "_meta"  # the freshness test of train_v3.sh takes the first value
    assert content[keys[0]]["pointer_candidates"][0]["vqa_eval_mode"] == "vqaEval"
    assert [int(key) for key in keys] == sorted(int(key) for key in keys)
    anchors = json.loads((results / "cache/demo-anchor_sample_num:24.json").read_text(encoding="utf-8"))
    assert {int(key) for key in keys} == set(anchors)
    for key in keys:
        query, pool = content[key]["query"], content[key]["candidate_pool_ids"]
        assert list(query) == [
            "query_id", "question_id", "image_id", "question", "gt_answers_raw", "gt_answers_norm",
        ]  # fmt: skip
        assert query["query_id"] == int(key)
        assert len(set(pool)) == len(pool) == 64
        assert int(key) not in pool
        for candidate in content[key]["pointer_candidates"]:
            assert list(candidate)[:3] == ["pointer", "pointer_global", "gen_method"]
            assert all(0 <= place < 64 for place in candidate["pointer"])
            assert candidate["pointer_global"] == [pool[place] for place in candidate["pointer"]]
            assert "pointer_pos" not in candidate  # upstream would take it for global ids
            assert candidate["gen_method"] in ("beam", "sample", "retrieval", "random")
            assert type(candidate["vqa_correct"]) is int
            assert candidate["vqa_correct"] == int(candidate["vqa_acc_score"] > 0)
            assert type(candidate["eval_failed"]) is bool
            assert {"vqa_rel_score", "vqa_gt_prob", "vqa_pred_answer", "vqa_raw_generation"} <= candidate.keys()
            assert candidate["eval_split_used"] == "train"


@pytest.mark.slow
def test_every_epoch_has_upstreams_keys_and_bare_names(results: Path) -> None:
    for path in sorted((results / "model_cpk/v3_RandSampler_tiny_vl").glob("*.pt")):
        phase, number = re.fullmatch(r"(rce|grpo)_epoch(\d+)\.pt", path.name).groups()  # type: ignore[union-attr]
        content = torch.load(path, weights_only=True)
        assert list(content)[:5] == ["epoch", "phase", "model_state_dict", "kl_beta", "metrics"]
        assert (content["phase"], content["epoch"]) == (phase, int(number) - 1)
        assert list(content["model_state_dict"]) == TODAY
        assert all(type(value) is float for value in content["metrics"].values())
        upstream = {"rce": ["rce_loss"], "grpo": ["grpo_loss", "ppo_loss", "kl_loss", "kl", "mean_ratio"]}[phase]
        assert {*upstream, "val_loss"} <= content["metrics"].keys()


def upstreams_module(width: int) -> torch.nn.Module:
    """What upstream's trainer builds for embeddings of ``width`` (SPEC E.1, K): 256 wide, one layer, whatever the
    file holds. Its inference takes the width of embeddings from ``input_proj``, and 768 without one."""
    h = 256
    shapes = {
        "input_proj.weight": (h, width),
        "cross_attn_layers.0.in_proj_weight": (3 * h, h),
        "cross_attn_layers.0.in_proj_bias": (3 * h,),
        "cross_attn_layers.0.out_proj.weight": (h, h),
        "cross_attn_layers.0.out_proj.bias": (h,),
        "attn_norms.0.weight": (h,),
        "attn_norms.0.bias": (h,),
        "query_proj.weight": (h, h),
        "cand_proj.weight": (h, h),
        "query_update_gate.weight": (h, 2 * h),
        "query_update_gate.bias": (h,),
    }
    return module_of({name: torch.zeros(shape) for name, shape in shapes.items()})


@pytest.mark.slow
def test_every_file_of_the_demo_loads_at_upstreams_fixed_width(results: Path) -> None:
    width = torch.load(results / "cache/query_embeddings.pt", weights_only=True).size(1)
    epochs = sorted((results / "model_cpk/v3_RandSampler_tiny_vl").glob("*.pt"))
    converted = sorted((results / "model_cpk/v3_RandSampler_tiny_vl").glob("*_v2format.ckpt"))
    (v2,) = (results / "model_cpk/v2").glob("*.ckpt")
    assert len(epochs) > 1
    assert converted
    for path in (*epochs, *converted, v2):
        found = post_train(torch.load(path, weights_only=True))
        module = upstreams_module(width)
        own = {name: tensor for name, tensor in found.items() if name in module.state_dict()}  # as it filters
        module.load_state_dict(own, strict=True)


@pytest.mark.slow
def test_what_upstream_parses_from_names_is_there(results: Path) -> None:
    """SPEC M: sampler and training parameters, from the file's name; SPEC A.3: the name that is tried first."""
    (path,) = (results / "model_cpk/v2").glob("*.ckpt")
    assert re.search(r"(RandSampler).*(infoscore_left_beam5_shot2_cand64_sample\d+)", path.name)
    assert path.name.endswith("_best.ckpt")
    converted = sorted((results / "model_cpk/v3_RandSampler_tiny_vl").glob("*_v2format.ckpt"))
    assert [path.name[:4] for path in converted] == ["grpo", "rce_"]  # the last epoch of each training
    assert all(path.with_name(path.name.replace("_v2format.ckpt", ".pt")).is_file() for path in converted)


@pytest.mark.slow
def test_pools_beams_and_embeddings_as_upstream_reads_them(results: Path) -> None:
    anchors = json.loads((results / "cache/demo-anchor_sample_num:24.json").read_text(encoding="utf-8"))
    pools = json.loads(
        (results / "cache/demo-RandSampler-anchor_sample_num: 24:64.json").read_text(encoding="utf-8")
    )
    assert [int(key) for key in pools] == anchors
    (path,) = (results / "generated_data").glob("vqa-*:24.json")
    for key, query in json.loads(path.read_text(encoding="utf-8")).items():
        assert list(query) == ["beams", "few_shot_num", "id_list", "score_list", "shot_scores"]
        assert query["few_shot_num"] == 2
        assert all(sequence[-1] == int(key) for sequence in query["id_list"])
        assert all(set(sequence[:-1]) <= set(pools[key]) for sequence in query["id_list"])
        assert [beam["full_sequence"] for beam in query["beams"]] == query["id_list"]
        assert query["score_list"] == sorted(query["score_list"], reverse=True)
    first, second = (
        torch.load(results / "cache" / name, weights_only=True)
        for name in ("query_embeddings.pt", "candidate_embeddings.pt")
    )
    assert type(first) is Tensor
    assert torch.equal(first, second)
    assert torch.allclose(first.norm(dim=-1), torch.ones(len(first)))
