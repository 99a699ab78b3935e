"""Names and shapes of the selector's tensors, in today's spelling and in the older one (SPEC E.1, L.3).

The older class (``cross_attn.``, ``attn_norm.``) had one attention layer, and before that no gate.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from icd_assets.errors import UserError
from icd_assets.runtime.foreign import brief, printable
from icd_assets.selector.config import SelectorConfig

V2_PREFIX = "lever_lm.pointer_selector."
TOWER_PREFIXES = ("lever_lm.sen_model.", "lever_lm.img_model.")
GATE = ("query_update_gate.weight", "query_update_gate.bias")
# Today's name → the older class', for the tensors that it spells differently; all others have one name.
_OLDER = {
    "cross_attn_layers.0.in_proj_weight": "cross_attn.in_proj_weight",
    "cross_attn_layers.0.in_proj_bias": "cross_attn.in_proj_bias",
    "cross_attn_layers.0.out_proj.weight": "cross_attn.out_proj.weight",
    "cross_attn_layers.0.out_proj.bias": "cross_attn.out_proj.bias",
    "attn_norms.0.weight": "attn_norm.weight",
    "attn_norms.0.bias": "attn_norm.bias",
}
_TODAYS = {older: today for today, older in _OLDER.items()}
_LAYER = re.compile(r"(?:cross_attn_layers|attn_norms)\.([0-9]{1,3})\.")
_WIDEST = 16_384  # what is larger is no selector, and would not fit
# Exact in float32; float64 would be rounded, so it is refused.
_FLOATS = (torch.float32, torch.float16, torch.bfloat16)


def expected_shapes(config: SelectorConfig) -> dict[str, tuple[int, ...]]:
    """Every tensor of a selector, in the order of its ``state_dict``."""
    width = config.hidden_dim
    shapes: dict[str, tuple[int, ...]] = {}
    if config.embedding_dim != width:
        shapes["input_proj.weight"] = (width, config.embedding_dim)
    for layer in range(config.num_layers):
        shapes[f"cross_attn_layers.{layer}.in_proj_weight"] = (3 * width, width)
        shapes[f"cross_attn_layers.{layer}.in_proj_bias"] = (3 * width,)
        shapes[f"cross_attn_layers.{layer}.out_proj.weight"] = (width, width)
        shapes[f"cross_attn_layers.{layer}.out_proj.bias"] = (width,)
    for layer in range(config.num_layers):
        shapes[f"attn_norms.{layer}.weight"] = (width,)
        shapes[f"attn_norms.{layer}.bias"] = (width,)
    shapes["query_proj.weight"] = (width, width)
    shapes["cand_proj.weight"] = (width, width)
    shapes["query_update_gate.weight"] = (width, 2 * width)
    shapes["query_update_gate.bias"] = (width,)
    return shapes


def infer_config(state: Mapping[str, Tensor], path: Path, num_heads: int = 1) -> SelectorConfig:
    """The selector's shape from its tensors; the number of heads leaves no trace in them."""
    width = _matrix(state, "query_proj.weight", path)[0]
    depth = _matrix(state, "input_proj.weight", path)[1] if "input_proj.weight" in state else width
    layers = {int(found[1]) for name in state if (found := _LAYER.match(name))}
    if layers != set(range(len(layers))) or not layers:
        raise UserError(f"{path}: attention layers are numbered {brief(sorted(layers))} instead of from 0 upward.")
    if max(width, depth) > _WIDEST:
        raise UserError(f"{path}: a selector of width {max(width, depth)} cannot be; the widest is {_WIDEST}.")
    if width % num_heads:
        raise UserError(f"{path}: a selector of width {width} cannot have {num_heads} heads; correct num_heads.")
    return SelectorConfig(embedding_dim=depth, hidden_dim=width, num_layers=len(layers), num_heads=num_heads)


def shape_facts(state: Mapping[str, Tensor], path: Path) -> dict[str, int]:
    """The selector's shape for a manifest."""
    config = infer_config(state, path)
    return {name: getattr(config, name) for name in ("embedding_dim", "hidden_dim", "num_layers")}


def _matrix(state: Mapping[str, Tensor], name: str, path: Path) -> tuple[int, int]:
    if name not in state:
        raise UserError(f"{path}: tensor {name} is missing, so this is not a pointer selector.")
    shape = tuple(state[name].shape)
    if len(shape) != 2 or 0 in shape:
        raise UserError(f"{path}: tensor {name} has shape {list(shape)}, which is not a matrix.")
    return shape[0], shape[1]


def check_state(state: Mapping[str, Tensor], config: SelectorConfig, path: Path) -> dict[str, Tensor]:
    """The tensors in ``state_dict`` order as float32, if they are exactly those that ``config`` asks for."""
    shapes = expected_shapes(config)
    if missing := _names(name for name in shapes if name not in state):
        raise UserError(f"{path}: the selector lacks {missing}; the file is of another model or damaged.")
    if extra := _names(name for name in state if name not in shapes):
        raise UserError(f"{path}: the selector has unknown {extra}; the file is of another model.")
    for name, shape in shapes.items():
        found = state[name]
        if tuple(found.shape) != shape:
            raise UserError(f"{path}: tensor {name} has shape {list(found.shape)}, expected {list(shape)}.")
        if found.dtype not in _FLOATS:
            raise UserError(f"{path}: tensor {name} has type {found.dtype}, expected torch.float32.")
        if not torch.isfinite(found).all():
            raise UserError(f"{path}: tensor {name} holds numbers that are not finite; training had diverged.")
    return {name: state[name].float() for name in shapes}


def _names(names: Iterable[str]) -> str:
    """'tensor a', or 'tensor a and 3 more'; empty for none."""
    found = list(names)
    if not found:
        return ""
    return f"tensor {printable(found[0][:80])}" + (f" and {len(found) - 1} more" if len(found) > 1 else "")


def older_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of layer 0 that the older class spells differently, in its spelling."""
    return {_OLDER[name]: tensor for name, tensor in state.items() if name in _OLDER}


def first_layer(state: Mapping[str, Tensor], config: SelectorConfig) -> dict[str, Tensor]:
    """The tensors of a selector of ``config`` with its first attention layer alone."""
    return {name: state[name] for name in expected_shapes(config.model_copy(update={"num_layers": 1}))}


def todays_names(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Either spelling, or both at once, to today's; both must then agree."""
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        new = _TODAYS.get(name, name)
        if new in renamed and not torch.equal(renamed[new], tensor):
            raise UserError(f"{path}: tensor {new} is stored under two names with different numbers.")
        renamed[new] = tensor
    return renamed
