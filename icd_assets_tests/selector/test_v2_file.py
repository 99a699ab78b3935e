"""v2 (Lightning-form) checkpoints in every form that SPEC L.3 names, and the conversion to form f5."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from icd_assets.errors import UserError
from icd_assets.selector.config import SelectorConfig
from icd_assets.selector.model import new_policy
from icd_assets.selector.v2_file import V2Checkpoint, read_v2, write_v2, write_v2format
from icd_assets.selector.v3_file import V3Checkpoint, load_policy
from icd_assets_tests.selector.test_model import PUBLISHED_KEYS
from icd_assets_tests.selector.test_v3_file import Hostile

CONFIG = SelectorConfig(embedding_dim=12, hidden_dim=8)
P = "lever_lm.pointer_selector."
OLDER_KEYS = [  # SPEC L.3, the older class
    "input_proj.weight", "cross_attn.in_proj_weight", "cross_attn.in_proj_bias", "cross_attn.out_proj.weight",
    "cross_attn.out_proj.bias", "attn_norm.weight", "attn_norm.bias", "query_proj.weight", "cand_proj.weight",
]  # fmt: skip


def state(layers: int = 1) -> dict[str, Tensor]:
    return dict(new_policy(CONFIG.model_copy(update={"num_layers": layers}), 0).state_dict())


def older(names: dict[str, Tensor]) -> dict[str, Tensor]:
    """Upstream's renaming (SPEC L.1)."""
    return {
        name.replace("cross_attn_layers.0.", "cross_attn.").replace("attn_norms.0.", "attn_norm."): tensor
        for name, tensor in names.items()
    }


def prefixed(names: dict[str, Tensor]) -> dict[str, Tensor]:
    return {P + name: tensor for name, tensor in names.items()}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def v3(layers: int = 1) -> V3Checkpoint:
    return V3Checkpoint(2, "grpo", state(layers), 0.1, {"val_loss": 1.0}, {"rl_data": "abc"})


@pytest.mark.parametrize(
    "content",
    [
        {"state_dict": prefixed(state())},
        {"state_dict": prefixed(older(state()))},
        {"state_dict": prefixed(state() | older(state()))},
        {"state_dict": prefixed(state() | older(state())), "model_state_dict": state()},
    ],
    ids=["f1", "f2", "f4", "f5"],
)
def test_every_form_gives_the_same_selector(tmp_path: Path, content: dict[str, Any]) -> None:
    torch.save(content | {"epoch": 3, "pytorch-lightning_version": "2.0.0"}, tmp_path / "v2.ckpt")
    found = read_v2(tmp_path / "v2.ckpt")
    assert same(found.state, state())
    assert list(found.state) == PUBLISHED_KEYS
    assert (found.epoch, found.towers) == (3, {})


def test_native_form_is_written_with_towers(tmp_path: Path) -> None:
    towers = {"sen_model.ids": torch.arange(3), "img_model.projection": torch.ones(2, 2).half()}
    write_v2(tmp_path / "a.ckpt", V2Checkpoint(state(), towers, 7, {"beam_data": "abc"}))
    content = torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert list(content) == [
        "epoch", "global_step", "pytorch-lightning_version", "state_dict", "hyper_parameters", "icd_assets",
    ]  # fmt: skip
    assert content["hyper_parameters"] == {"lr": 1e-4, "weight_decay": 1e-3, "warm_steps": 0.05}
    assert list(content["state_dict"]) == [P + name for name in PUBLISHED_KEYS] + [f"lever_lm.{n}" for n in towers]
    found = read_v2(tmp_path / "a.ckpt")
    assert same(found.state, state())
    assert same(found.towers, towers)
    assert (found.epoch, found.lineage) == (7, {"beam_data": "abc"})
    write_v2(tmp_path / "b.tmp", found)
    assert (tmp_path / "a.ckpt").read_bytes() == (tmp_path / "b.tmp").read_bytes()


def settings_module(monkeypatch: pytest.MonkeyPatch, name: str) -> ModuleType:
    module = ModuleType(name)
    for part in range(1, name.count(".") + 2):
        parent = ".".join(name.split(".")[:part])
        monkeypatch.setitem(sys.modules, parent, module if parent == name else ModuleType(parent))
    return module


def test_settings_objects_of_lightning_are_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A native v2 file carries OmegaConf objects (SPEC E.4), which the safe reader of torch refuses."""
    with monkeypatch.context() as patch:
        config = settings_module(patch, "omegaconf.dictconfig")
        attributes = settings_module(patch, "lightning.fabric.utilities.data")
        config.DictConfig = type("DictConfig", (), {"__module__": config.__name__})  # type: ignore[attr-defined]
        attributes.AttributeDict = type("AttributeDict", (dict,), {"__module__": attributes.__name__})  # type: ignore[attr-defined]
        settings = config.DictConfig()
        settings.__dict__.update(_content={"lr": 1e-4, "kind": dict}, _parent=None)
        hyper = attributes.AttributeDict(lr=1e-4)
        content = {"state_dict": prefixed(state()), "hyper_parameters": hyper}
        torch.save(content | {"datamodule_hyper_parameters": {"cfg": settings}}, tmp_path / "native.ckpt")
    with pytest.raises(Exception, match="Unsupported global"):
        torch.load(tmp_path / "native.ckpt", weights_only=True)
    trusted = set(torch.serialization.get_safe_globals())
    assert same(read_v2(tmp_path / "native.ckpt").state, state())
    assert set(torch.serialization.get_safe_globals()) == trusted


def test_a_hostile_settings_object_is_refused(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    content = {"state_dict": prefixed(state()), "hyper_parameters": Hostile(marker)}
    torch.save(content, tmp_path / "a.ckpt")
    with pytest.raises(UserError, match="refused"):
        read_v2(tmp_path / "a.ckpt")
    assert not marker.exists()


@pytest.mark.parametrize("epoch", [None, 3.0, True, -1, np.int64(3), torch.tensor(3)], ids=repr)
def test_an_epoch_that_is_no_number_of_epochs_is_not_known(tmp_path: Path, epoch: Any) -> None:
    path = tmp_path / "a.ckpt"
    torch.save({"state_dict": prefixed(state()), "epoch": epoch}, path)
    found = read_v2(path)
    assert found.epoch == 0
    assert same(found.state, state())


def test_the_older_class_without_gate_needs_permission(tmp_path: Path) -> None:
    before_gate = {name: tensor for name, tensor in older(state()).items() if not name.startswith("query_update")}
    assert list(before_gate) == OLDER_KEYS
    torch.save({"state_dict": prefixed(before_gate)}, tmp_path / "old.ckpt")
    with pytest.raises(UserError, match=r"lacks its gate \(query_update_gate\.weight\)"):
        read_v2(tmp_path / "old.ckpt")
    first = read_v2(tmp_path / "old.ckpt", allow_missing_gate=True)
    assert same(first.state, read_v2(tmp_path / "old.ckpt", allow_missing_gate=True).state)
    assert not first.state["query_update_gate.bias"].any()
    assert first.state["query_update_gate.weight"].any()
    assert torch.equal(first.state["cand_proj.weight"], state()["cand_proj.weight"])


def broken(**changes: Any) -> dict[str, Any]:
    return {"state_dict": prefixed(state())} | changes


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (broken(state_dict={}), "not a v2 selector"),
        (broken(state_dict=[1]), "key state_dict"),
        ({"epoch": 1}, "key state_dict is missing"),
        ({"model_state_dict": state()}, "is a v3 file"),
        (
            broken(state_dict=prefixed(state()) | {"lever_lm.sen_adapter.weight": torch.ones(1)}),
            "adapters and LoRA",
        ),
        (broken(state_dict=prefixed(state()) | prefixed({"attn_norm.bias": torch.ones(8)})), "under two names"),
        (broken(model_state_dict=state() | {"attn_norms.0.bias": torch.ones(8)}), "differ"),
        (broken(epoch="x"), "epoch"),
        (broken(state_dict=prefixed({n: t for n, t in state().items() if "gate.bias" not in n})), "gate.bias"),
        (broken(state_dict=prefixed({n: t for n, t in state(3).items() if "layers.1" not in n})), "lacks tensor"),
        (broken(state_dict=prefixed({n: t for n, t in state(3).items() if ".1." not in n})), r"numbered \[0, 2\]"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(tmp_path: Path, content: dict[str, Any], problem: str) -> None:
    torch.save(content, tmp_path / "v2.ckpt")
    with pytest.raises(UserError, match=rf"v2\.ckpt: .*{problem}"):
        read_v2(tmp_path / "v2.ckpt")


def test_conversion_writes_what_every_loader_needs(tmp_path: Path) -> None:
    path = tmp_path / "grpo_epoch3_v2format.ckpt"
    write_v2format(path, v3(), lineage={"source_sha256": "def", "shot_num": 2})
    content = torch.load(path, weights_only=True)
    header = ["epoch", "global_step", "pytorch-lightning_version", "state_dict", "hyper_parameters"]
    assert list(content) == [*header, "model_state_dict", "icd_assets"]
    assert {P + name for name in PUBLISHED_KEYS + OLDER_KEYS} == set(content["state_dict"])
    assert len(content["state_dict"]) == 17
    assert list(content["model_state_dict"]) == PUBLISHED_KEYS
    assert same(content["model_state_dict"], state())
    assert content["icd_assets"] == {
        "rl_data": "abc", "d_model": 12, "hidden_dim": 8, "num_layers": 1, "phase": "grpo",
        "source_sha256": "def", "shot_num": 2,
    }  # fmt: skip
    assert (content["epoch"], content["global_step"]) == (2, 0)
    # As today's class is loaded upstream (SPEC L.2 d): prefix off, known keys in.
    bare = {name.removeprefix(P): tensor for name, tensor in content["state_dict"].items()}
    assert same({name: bare[name] for name in PUBLISHED_KEYS}, state())
    assert same({name: bare[name] for name in OLDER_KEYS}, {n: older(state())[n] for n in OLDER_KEYS})


def test_conversion_keeps_every_logit_and_is_deterministic(tmp_path: Path) -> None:
    for name in ("a_v2format.ckpt", "b_v2format.ckpt"):
        write_v2format(tmp_path / name, v3(), lineage={})
    assert (tmp_path / "a_v2format.ckpt").read_bytes() == (tmp_path / "b_v2format.ckpt").read_bytes()
    converted = load_policy(read_v2(tmp_path / "a_v2format.ckpt").state, tmp_path)
    source = load_policy(state(), tmp_path)
    query, pool, pointers = torch.ones(1, 12), torch.eye(12)[None], torch.tensor([[[3, 1], [0, 7]]])
    assert torch.equal(converted(query, pool, pointers), source(query, pool, pointers))


def test_more_layers_than_the_format_holds_need_permission(tmp_path: Path) -> None:
    path = tmp_path / "a_v2format.ckpt"
    with pytest.raises(UserError, match="has 3 attention layers"):
        write_v2format(path, v3(layers=3), lineage={})
    assert not path.exists()
    write_v2format(path, v3(layers=3), lineage={}, allow_drop_layers=True)
    assert list(read_v2(path).state) == PUBLISHED_KEYS


def test_the_name_decides_how_upstream_loads_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.ckpt"):
        write_v2format(tmp_path / "rce_epoch5_v2format.pt", v3(), lineage={})


def test_a_selector_as_wide_as_its_embeddings_has_no_projection(tmp_path: Path) -> None:
    narrow = dict(new_policy(SelectorConfig(embedding_dim=8, hidden_dim=8), 0).state_dict())
    source = V3Checkpoint(0, "rce", narrow, 0.0, {})
    write_v2format(tmp_path / "a_v2format.ckpt", source, lineage={})
    assert list(read_v2(tmp_path / "a_v2format.ckpt").state) == PUBLISHED_KEYS[1:]
