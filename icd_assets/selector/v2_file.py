"""Lever-Plus' Lightning-form checkpoints: the v2 (SFT) file and the v2-format of a trained selector (SPEC E.4, L).

Forms, as SPEC L.3 numbers them: f1 native v2, f2 upstream's conversion (older names), f4 both namings,
f5 = f4 + ``model_state_dict``. All are read; f1 and f5 are written.

Deviations from upstream:
1. The converted file carries both namings and bare v3 names. Upstream renames attention to the older names only,
   and its loader then leaves attention and norms at random values.
2. What was written is read back and compared, tensor by tensor and by a forward pass.
3. A selector of more than one layer is refused unless ``allow_drop_layers``; upstream drops layers silently.
4. A file without the gate (the older class) is refused unless ``allow_missing_gate``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from icd_assets.errors import UserError
from icd_assets.runtime.foreign import printable
from icd_assets.runtime.seeding import torch_rng
from icd_assets.selector.key_names import (
    GATE,
    TOWER_PREFIXES,
    V2_PREFIX,
    check_state,
    first_layer,
    infer_config,
    older_names,
    todays_names,
)
from icd_assets.selector.model import new_policy
from icd_assets.selector.torch_file import read_torch_file, tensors, torch_bytes
from icd_assets.selector.v3_file import LINEAGE, V3Checkpoint, build_policy

_LARGEST_SELECTOR = 384 << 20  # bytes
_HYPER_PARAMETERS = {"lr": 1e-4, "weight_decay": 1e-3, "warm_steps": 0.05}


@dataclass(frozen=True, slots=True, eq=False)
class V2Checkpoint:
    """A selector in today's names and, if the file has them, CLIP towers (``sen_model.*``, ``img_model.*``)."""

    state: dict[str, Tensor]
    towers: dict[str, Tensor] = field(default_factory=dict)
    epoch: int = 0
    lineage: dict[str, Any] = field(default_factory=dict)


def write_v2(
    path: Path,
    checkpoint: V2Checkpoint,
    *,
    hyper_parameters: Mapping[str, float] = _HYPER_PARAMETERS,
    global_step: int = 0,
) -> None:
    """Form f1, written exactly at ``path``; ``hyper_parameters``: lr, weight_decay, warm_steps."""
    config = infer_config(checkpoint.state, path)
    state = {V2_PREFIX + name: value for name, value in check_state(checkpoint.state, config, path).items()}
    for name, value in checkpoint.towers.items():
        if not f"lever_lm.{name}".startswith(TOWER_PREFIXES):
            raise ValueError(f"{name} is no tensor of a CLIP tower")
        state[f"lever_lm.{name}"] = value
    content = _header(checkpoint.epoch, global_step, state, hyper_parameters)
    path.write_bytes(torch_bytes(content | {LINEAGE: checkpoint.lineage}))


def _header(
    epoch: int, global_step: int, state: Mapping[str, Tensor], hyper_parameters: Mapping[str, float]
) -> dict[str, Any]:
    return {
        "epoch": epoch,
        "global_step": global_step,
        "pytorch-lightning_version": "2.0.0",
        "state_dict": dict(state),
        "hyper_parameters": dict(hyper_parameters),
    }


def read_v2(path: Path, *, allow_missing_gate: bool = False, seed: int = 42) -> V2Checkpoint:
    """Forms f1, f2, f4 and f5, ours or a user's. Settings objects inside are skipped, nothing is executed.

    allow_missing_gate: give a selector of the older class a new gate (Xavier from ``seed``, zero bias), that is
    roughly the mean of query and demonstration after each pick.
    """
    content = read_torch_file(path, lightning=True)
    if "state_dict" not in content and "model_state_dict" in content:
        raise UserError(f"{path}: is a v3 file; expected a v2 (Lightning) checkpoint.")
    found = tensors(content, "state_dict", path)
    selector = {name.removeprefix(V2_PREFIX): v for name, v in found.items() if name.startswith(V2_PREFIX)}
    towers = {name.removeprefix("lever_lm."): v for name, v in found.items() if name.startswith(TOWER_PREFIXES)}
    if not selector:
        raise UserError(f"{path}: holds no tensor lever_lm.pointer_selector.*; it is not a v2 selector.")
    if foreign := [n for n in found if not n.startswith((V2_PREFIX, *TOWER_PREFIXES))]:
        raise UserError(
            f"{path}: tensor {printable(foreign[0][:80])} is unknown; adapters and LoRA are not supported."
        )
    if sum(value.nbytes for value in selector.values()) > 2 * _LARGEST_SELECTOR:  # in both spellings
        raise UserError(f"{path}: holds more numbers than a selector has; the file is of another model.")
    state = todays_names(selector, path)
    if not any(name in state for name in GATE):
        if not allow_missing_gate:
            raise UserError(
                f"{path}: the selector lacks its gate ({GATE[0]}), so it is of the older class; retrain it, or "
                "allow a missing gate to continue with an untrained one."
            )
        state |= _untrained_gate(state, path, seed)
    checked = check_state(state, infer_config(state, path), path)
    if "model_state_dict" in content:
        bare = tensors(content, "model_state_dict", path)
        if set(bare) != set(checked) or any(not torch.equal(bare[name], checked[name]) for name in checked):
            raise UserError(f"{path}: state_dict and model_state_dict differ; the file is damaged.")
    epoch, lineage = content.get("epoch"), content.get(LINEAGE, {})
    if isinstance(epoch, str | list | dict) or not isinstance(lineage, dict):
        raise UserError(f"{path}: epoch or {LINEAGE} is not what it should be; the file is damaged or foreign.")
    # Numbers of their own: those of the file would change, or be gone, with it.
    return V2Checkpoint({name: value.clone() for name, value in checked.items()}, towers, _epoch(epoch), lineage)


def _epoch(value: object) -> int:
    """Nothing is computed from it: 0 where another tool left none, or a number that is no int."""
    return value if type(value) is int and 0 <= value < 1 << 31 else 0


def _untrained_gate(state: Mapping[str, Tensor], path: Path, seed: int) -> dict[str, Tensor]:
    fresh = new_policy(infer_config(state, path), seed).state_dict()
    return {name: fresh[name] for name in GATE}


def write_v2format(
    path: Path, source: V3Checkpoint, *, lineage: Mapping[str, Any], allow_drop_layers: bool = False
) -> None:
    """A trained selector as Lever-Plus' inference loads it (SPEC F, form f5), verified by reading it back.

    ``state_dict`` has the tensors under today's and the older names, ``model_state_dict`` under today's.

    lineage: what to record beside the shape, for example the source's sha256 and the RL data's digest.
    """
    if path.suffix != ".ckpt":
        raise ValueError(f"{path.name}: Lever-Plus' loader takes a v2-format file only by the suffix .ckpt")
    state = _one_layer(source.model_state_dict, path, allow_drop_layers)
    both = {V2_PREFIX + name: value for name, value in (state | older_names(state)).items()}
    content = _header(source.epoch, 0, both, _HYPER_PARAMETERS)
    content["model_state_dict"] = state
    content[LINEAGE] = source.lineage | _shape(state, path) | {"phase": source.phase} | dict(lineage)
    path.write_bytes(torch_bytes(content))
    _verify(path, state)


def _one_layer(trained: Mapping[str, Tensor], path: Path, allow_drop_layers: bool) -> dict[str, Tensor]:
    """The checked tensors of a selector that the v2 format can hold."""
    config = infer_config(trained, path)
    state = check_state(trained, config, path)
    if config.num_layers == 1:
        return state
    if not allow_drop_layers:
        raise UserError(
            f"the selector has {config.num_layers} attention layers, but the v2 format holds one; train with "
            "NUM_LAYERS=1."
        )
    return first_layer(state, config)


def _shape(state: Mapping[str, Tensor], path: Path) -> dict[str, int]:
    """The selector's shape, in the words of Lever-Plus' converter."""
    config = infer_config(state, path)
    return {"d_model": config.embedding_dim, "hidden_dim": config.hidden_dim, "num_layers": config.num_layers}


def _verify(path: Path, state: Mapping[str, Tensor]) -> None:
    """The file, read as any user would, gives the same tensors and the same logits."""
    again = read_v2(path).state
    if list(again) != list(state) or any(not torch.equal(again[name], state[name]) for name in state):
        raise RuntimeError(f"{path}: the converted file does not hold the selector that was converted")
    config = infer_config(state, path)
    rng = torch_rng(0, "verify", "v2format")
    query = torch.randn(1, config.embedding_dim, generator=rng)
    pool = torch.randn(1, 8, config.embedding_dim, generator=rng)
    pointers = torch.tensor([[[1, 0, 2], [5, 7, 3]]])
    with torch.no_grad():
        expected = build_policy(config, state)(query, pool, pointers)
        found = build_policy(config, again)(query, pool, pointers)
    if not torch.equal(expected, found):
        raise RuntimeError(f"{path}: the converted selector computes other logits than its source")
