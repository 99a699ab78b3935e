"""The pointer selectors by name: they point at S demonstrations of a pool, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from icd_assets.selector.architectures.additive import AdditiveSelector
from icd_assets.selector.architectures.coverage import CoverageSelector
from icd_assets.selector.architectures.gru import GruSelector
from icd_assets.selector.architectures.interface import MASKED, Encoded, PointerSelector
from icd_assets.selector.architectures.mmr import MmrSelector
from icd_assets.selector.architectures.transformer import TransformerSelector
from icd_assets.selector.architectures.v2 import PointerSelectorV2
from icd_assets.selector.config import Architecture, SelectorConfig
from icd_assets.selector.randomness import isolated_rng

__all__ = ["ARCHITECTURES", "MASKED", "Encoded", "PointerSelector", "PointerSelectorV2", "new_policy", "shapes_of"]

ARCHITECTURES: Mapping[Architecture, Callable[[SelectorConfig], PointerSelector]] = {
    "coverage": CoverageSelector,
    "v2": PointerSelectorV2,
    "gru": GruSelector,
    "additive": AdditiveSelector,
    "mmr": MmrSelector,
    "transformer": TransformerSelector,
}


def new_policy(config: SelectorConfig, seed: int) -> PointerSelector:
    """An untrained selector whose weights depend on ``config`` and ``seed`` alone."""
    with isolated_rng(seed, "selector", "init"):
        return _build(config)


def shapes_of(config: SelectorConfig) -> dict[str, tuple[int, ...]]:
    """Every tensor of a selector, in the order of its ``state_dict``; nothing is allocated."""
    with torch.device("meta"), isolated_rng(0):
        return {name: tuple(tensor.shape) for name, tensor in _build(config).state_dict().items()}


def _build(config: SelectorConfig) -> PointerSelector:
    return ARCHITECTURES[config.architecture](config)
