"""v3 files and training states: exact content, equal bytes, and one clear sentence for every bad file."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from icd_assets.errors import UserError
from icd_assets.selector.config import RceConfig, SelectorConfig
from icd_assets.selector.key_names import infer_config
from icd_assets.selector.model import new_policy
from icd_assets.selector.training import Optimization, Resumed
from icd_assets.selector.v3_file import (
    V3Checkpoint,
    load_policy,
    read_training_state,
    read_v3,
    write_training_state,
    write_v3,
)

CONFIG = SelectorConfig(embedding_dim=12, hidden_dim=8)


def checkpoint(**changes: Any) -> V3Checkpoint:
    values: dict[str, Any] = {
        "epoch": 4,
        "phase": "rce",
        "model_state_dict": dict(new_policy(CONFIG, 0).state_dict()),
        "kl_beta": 0.15,
        "metrics": {"rce_loss": 1.5, "val_loss": 1.25},
        "lineage": {"rl_data": "abc", "pools": ["x", "y"]},
    }
    return V3Checkpoint(**(values | changes))


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return list(first) == list(second) and all(torch.equal(first[name], second[name]) for name in first)


def test_the_file_has_upstreams_five_keys_and_our_lineage(tmp_path: Path) -> None:
    path = tmp_path / "rce_epoch5.pt"
    write_v3(path, checkpoint())
    content = torch.load(path, weights_only=True)
    assert list(content) == ["epoch", "phase", "model_state_dict", "kl_beta", "metrics", "icd_assets"]
    assert list(content["model_state_dict"]) == list(new_policy(CONFIG, 1).state_dict())
    new_policy(CONFIG, 1).load_state_dict(content["model_state_dict"])


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_v3(tmp_path / "a.pt", checkpoint())
    found = read_v3(tmp_path / "a.pt")
    assert same(found.model_state_dict, checkpoint().model_state_dict)
    assert (found.epoch, found.phase, found.kl_beta) == (4, "rce", 0.15)
    assert (found.metrics, found.lineage) == (checkpoint().metrics, checkpoint().lineage)
    assert infer_config(found.model_state_dict, tmp_path).hidden_dim == 8


def test_upstreams_own_file_is_read(tmp_path: Path) -> None:
    content = {name: getattr(checkpoint(), name) for name in ("epoch", "phase", "kl_beta", "metrics")}
    torch.save(content | {"model_state_dict": new_policy(CONFIG, 0).state_dict()}, tmp_path / "grpo_epoch1.pt")
    assert read_v3(tmp_path / "grpo_epoch1.pt").lineage == {}


def test_equal_content_gives_equal_bytes_at_any_path(tmp_path: Path) -> None:
    write_v3(tmp_path / "a.pt", checkpoint())
    write_v3(tmp_path / "another name.tmp", read_v3(tmp_path / "a.pt"))
    separate = "".join(["ab", "c"])  # equal, but not the same object
    write_v3(tmp_path / "c.pt", checkpoint(lineage={"rl_data": separate, "pools": ["x", "y"]}))
    expected = (tmp_path / "a.pt").read_bytes()
    assert (tmp_path / "another name.tmp").read_bytes() == expected
    assert (tmp_path / "c.pt").read_bytes() == expected
    write_v3(tmp_path / "d.pt", checkpoint(epoch=5))
    assert (tmp_path / "d.pt").read_bytes() != expected


def test_a_view_is_written_without_what_lies_around_it(tmp_path: Path) -> None:
    state = checkpoint().model_state_dict
    large = torch.zeros(1000, 8)
    large[:8] = state["query_proj.weight"]
    write_v3(tmp_path / "view.pt", checkpoint(model_state_dict=state | {"query_proj.weight": large[:8]}))
    write_v3(tmp_path / "plain.pt", checkpoint())
    assert (tmp_path / "view.pt").read_bytes() == (tmp_path / "plain.pt").read_bytes()


def test_a_policy_is_loaded_strictly(tmp_path: Path) -> None:
    policy = load_policy(checkpoint().model_state_dict, tmp_path / "x.pt", num_heads=2, dropout=0.25)
    assert not policy.training
    assert policy.config == CONFIG.model_copy(update={"num_heads": 2, "dropout": 0.25})
    with pytest.raises(UserError, match="3 heads"):
        load_policy(checkpoint().model_state_dict, tmp_path / "x.pt", num_heads=3)


def test_training_state_resumes_from_disk(tmp_path: Path) -> None:
    policy = new_policy(CONFIG, 0)
    config = RceConfig(seed=1, weight_decay=0.0)
    optimization = Optimization(policy, "rce", config, lr=1e-3)
    optimization.update(0, 0, lambda: (policy.query_proj.weight.square().sum(), {}))
    result = optimization.result(0, {"val_loss": 1.0, "kl_beta": 0.1})
    write_training_state(tmp_path / "a", result)
    write_training_state(tmp_path / "b", read_training_state(tmp_path / "a"))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    found = read_training_state(tmp_path / "a")
    assert same(found.model_state, result.model_state)
    resumed = Optimization(policy, "rce", config, lr=1e-3, resumed=Resumed([found.metrics], found, found))
    assert resumed.optimizer.state_dict()["state"].keys() == result.optimizer_state["state"].keys()


def state(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[dict[str, Any]], None]:
    def apply(content: dict[str, Any]) -> None:
        change(content["model_state_dict"])

    return apply


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (state(lambda s: s.pop("cand_proj.weight")), r"lacks tensor cand_proj\.weight;"),
        (state(lambda s: s.update(div_lambda=torch.ones(2))), "unknown tensor div_lambda;"),
        (state(lambda s: s.update({"cand_proj.weight": torch.ones(8, 9)})), r"\[8, 9\], expected \[8, 8\]"),
        (state(lambda s: s["attn_norms.0.bias"].fill_(torch.nan)), r"attn_norms\.0\.bias holds .*not finite"),
        (state(lambda s: s.update({"query_proj.weight": s["query_proj.weight"].double()})), "torch.float64"),
        (state(lambda s: s.update({"query_proj.weight": torch.ones(8)})), "not a matrix"),
        (state(lambda s: s.update({"query_proj.weight": 3})), "not a tensor"),
        (state(lambda s: s.update({"cand_proj.weight": torch.eye(8).to_sparse()})), "not a tensor of plain"),
        (state(lambda s: s.update({"input_proj.weight": torch.ones(1).expand(8, 10**9)})), "claims more"),
        (state(lambda s: s.clear()), r"query_proj\.weight is missing"),
        (lambda c: c.pop("metrics"), "key metrics is missing"),
        (lambda c: c.update(model_type="v4_7"), "key model_type is unknown"),
        (lambda c: c.update(phase="sft"), "phase is 'sft'"),
        (lambda c: c.update(epoch=-1), "epoch is -1"),
        (lambda c: c.update(kl_beta=float("nan")), "kl_beta is nan"),
        (lambda c: c.update(metrics=[1]), "must be dicts"),
        (lambda c: c.update(state_dict=c.pop("model_state_dict")), r"is a v2 \(Lightning\) checkpoint"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_named_with_what_is_wrong(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], problem: str
) -> None:
    content = {name: getattr(checkpoint(), name) for name in ("epoch", "phase", "kl_beta", "metrics")}
    content["model_state_dict"] = {n: t.clone() for n, t in checkpoint().model_state_dict.items()}
    change(content)
    torch.save(content, tmp_path / "rce_epoch5.pt")
    with pytest.raises(UserError, match=rf"rce_epoch5\.pt: .*{problem}"):
        read_v3(tmp_path / "rce_epoch5.pt")


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.99, -1])
def test_a_truncated_file(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "rce_epoch1.pt"
    write_v3(path, checkpoint())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole)) if 0 < keep < 1 else int(keep)])
    with pytest.raises(UserError, match=r"rce_epoch1\.pt: truncated"):
        read_v3(path)


def test_a_file_with_any_byte_changed_is_read_or_refused_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    write_v3(path, checkpoint())
    whole = path.read_bytes()
    for position in range(0, len(whole), 97):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x5A]) + whole[position + 1 :])
        try:
            read_v3(path)
        except UserError as error:
            assert str(path) in str(error)


def test_foreign_files(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    with pytest.raises(UserError, match="no such file"):
        read_v3(path)
    with pytest.raises(UserError, match="it is a folder"):
        read_v3(tmp_path)
    path.write_text("hello")
    with pytest.raises(UserError, match="not written by"):
        read_v3(path)
    path.write_bytes(pickle.dumps({"epoch": 1}))
    with pytest.raises(UserError, match="not written by"):
        read_v3(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "a zip, but no checkpoint")
    with pytest.raises(UserError, match=r"its entry readme\.txt is none that torch\.save writes"):
        read_v3(path)
    torch.save(torch.ones(3), path)
    with pytest.raises(UserError, match="holds a Tensor"):
        read_v3(path)


class Hostile:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


def test_a_hostile_pickle_is_refused_and_nothing_runs(tmp_path: Path) -> None:
    marker, path = tmp_path / "executed", tmp_path / "a.pt"
    torch.save({"epoch": Hostile(marker)}, path)
    with pytest.raises(UserError, match=r"a\.pt: refused"):
        read_v3(path)
    assert not marker.exists()
    torch.load(path, weights_only=False)  # proves that the file is armed
    assert marker.exists()


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path, buffer = tmp_path / "a.pt", io.BytesIO()
    torch.save({"x": torch.zeros(1_000_000)}, buffer)
    with zipfile.ZipFile(buffer) as plain, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for entry in plain.infolist():
            packed.writestr(entry.filename, plain.read(entry), zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10_000
    with pytest.raises(UserError, match="compressed entries"):
        read_v3(path)
    stored = bytearray(path.read_bytes())
    central = stored.find(b"PK\x01\x02")
    while central != -1:  # claim that entries are stored; their sizes then exceed the file
        stored[central + 10 : central + 12] = b"\0\0"
        central = stored.find(b"PK\x01\x02", central + 4)
    path.write_bytes(stored)
    with pytest.raises(UserError, match="an entry has two sizes"):
        read_v3(path)


def test_writing_refuses_what_reading_would(tmp_path: Path) -> None:
    state = checkpoint().model_state_dict
    state["query_proj.weight"] = state["query_proj.weight"].clone().fill_(torch.inf)
    with pytest.raises(UserError, match="not finite"):
        write_v3(tmp_path / "a.pt", checkpoint(model_state_dict=state))
    assert not (tmp_path / "a.pt").exists()
    with pytest.raises(ValueError, match="not object"):
        write_v3(tmp_path / "a.pt", checkpoint(lineage={"x": object()}))
