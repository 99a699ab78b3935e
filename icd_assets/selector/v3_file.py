"""Trained selectors on disk: Lever-Plus' v3 ``.pt`` files (SPEC K.4) and training states to resume from.

Deviations from upstream:
1. A v3 file has one more top-level key, ``icd_assets``, with its lineage; upstream's loaders ignore it.
2. Reading is strict: a missing, extra, misshapen or non-finite tensor is an error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from icd_assets.errors import UserError
from icd_assets.runtime.foreign import brief, printable
from icd_assets.selector.config import SelectorConfig
from icd_assets.selector.key_names import check_state, infer_config
from icd_assets.selector.model import PointerSelector, new_policy
from icd_assets.selector.torch_file import read_torch_file, tensors, torch_bytes
from icd_assets.selector.training import EpochResult

LINEAGE = "icd_assets"
_MOST_EPOCHS = 1_000_000_000
_LARGEST_STATE = 8 << 30  # bytes; ours, three times its selector
_V3_KEYS = ("epoch", "phase", "model_state_dict", "kl_beta", "metrics")
_STATE_KEYS = ("stage", "epoch", "model_state", "optimizer_state", "metrics", "kl_beta")


@dataclass(frozen=True, slots=True, eq=False)
class V3Checkpoint:
    """One RCE or GRPO epoch; ``epoch`` is 0-based, the file's name 1-based."""

    epoch: int
    phase: str  # rce | grpo
    model_state_dict: dict[str, Tensor]
    kl_beta: float
    metrics: dict[str, float]
    lineage: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, result: EpochResult, lineage: Mapping[str, Any]) -> V3Checkpoint:
        return cls(result.epoch, result.stage, result.model_state, result.kl_beta, result.metrics, dict(lineage))


def write_v3(path: Path, checkpoint: V3Checkpoint) -> None:
    """Write exactly at ``path``; equal checkpoints give equal bytes."""
    content = {key: getattr(checkpoint, key) for key in _V3_KEYS}
    check_state(checkpoint.model_state_dict, infer_config(checkpoint.model_state_dict, path), path)
    path.write_bytes(torch_bytes(content | {LINEAGE: checkpoint.lineage}))


def read_v3(path: Path) -> V3Checkpoint:
    """A v3 file of ours or of Lever-Plus; its weights are checked against the shape that they imply."""
    content = read_torch_file(path)
    if "model_state_dict" not in content and "state_dict" in content:
        raise UserError(f"{path}: is a v2 (Lightning) checkpoint; expected a v3 file such as rce_epoch5.pt.")
    lineage = content.pop(LINEAGE, {})
    _require_keys(content, _V3_KEYS, path)
    state = tensors(content, "model_state_dict", path)
    checked = check_state(state, infer_config(state, path), path)
    epoch, phase, beta, metrics = content["epoch"], content["phase"], content["kl_beta"], content["metrics"]
    if phase not in ("rce", "grpo"):
        raise UserError(f"{path}: phase is {brief(phase)}, expected rce or grpo.")
    if not _is_count(epoch):
        raise UserError(f"{path}: epoch is {brief(epoch)}, expected a number from 0 upward.")
    if not _is_finite(beta):
        raise UserError(f"{path}: kl_beta is {brief(beta)}, expected a number.")
    if not isinstance(metrics, dict) or not isinstance(lineage, dict):
        raise UserError(f"{path}: metrics and {LINEAGE} must be dicts; the file is damaged or foreign.")
    if wild := [name for name, value in metrics.items() if type(value) is int and not _is_finite(value)]:
        raise UserError(f"{path}: the metric {brief(wild[0])} is a number that cannot be one; it is damaged.")
    return V3Checkpoint(epoch, phase, checked, float(beta), metrics, lineage)


def load_policy(
    state: Mapping[str, Tensor],
    path: Path,
    *,
    num_heads: int = 1,
    dropout: float = 0.5,
    attn_dropout: float = 0.1,
    device: str = "cpu",
) -> PointerSelector:
    """A selector with these weights, in eval mode; ``path`` names their file in errors."""
    config = infer_config(state, path, num_heads)
    config = config.model_copy(update={"dropout": dropout, "attn_dropout": attn_dropout})
    return build_policy(config, check_state(state, config, path)).to(device)


def build_policy(config: SelectorConfig, state: Mapping[str, Tensor]) -> PointerSelector:
    """A selector with copies of the given weights, in eval mode, without touching any generator."""
    policy = new_policy(config, 0)
    policy.load_state_dict(dict(state))
    return policy.eval()


def write_training_state(path: Path, result: EpochResult) -> None:
    """All that resuming after this epoch needs, written exactly at ``path``."""
    path.write_bytes(torch_bytes({key: getattr(result, key) for key in _STATE_KEYS}))


def read_training_state(path: Path) -> EpochResult:
    content = read_torch_file(path, most=_LARGEST_STATE)
    _require_keys(content, _STATE_KEYS, path)
    content["model_state"] = tensors(content, "model_state", path)  # of any architecture: its policy checks shapes
    if not _is_count(content["epoch"]) or not isinstance(content["optimizer_state"], dict):
        raise UserError(f"{path}: is not a training state; delete it to train from the first epoch.")
    return EpochResult(**content)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST_EPOCHS


def _is_finite(value: object) -> bool:
    try:
        return isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:  # an int of hundreds of digits
        return False


def _require_keys(content: Mapping[str, Any], keys: tuple[str, ...], path: Path) -> None:
    if missing := [key for key in keys if key not in content]:
        raise UserError(f"{path}: key {missing[0]} is missing; this is not a file of this kind.")
    if extra := [key for key in content if key not in keys]:
        shown = printable(extra[0][:80]) if isinstance(extra[0], str) else brief(extra[0])
        raise UserError(f"{path}: key {shown} is unknown; this is not a file of this kind.")
