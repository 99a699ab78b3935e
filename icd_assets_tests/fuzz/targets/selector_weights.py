"""The weights of a selector's folder."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from safetensors.torch import save

from icd_assets.selector.config import SelectorConfig
from icd_assets.selector.model import new_policy
from icd_assets.selector.selector_file import _state

SUFFIX = ".safetensors"


@cache
def config() -> SelectorConfig:
    return SelectorConfig(embedding_dim=4, hidden_dim=4, num_layers=1, num_heads=1)


def seeds() -> Iterable[bytes]:
    yield save({name: tensor.contiguous() for name, tensor in new_policy(config(), 0).state_dict().items()})


def read(path: Path) -> Any:
    return _state(path, config())
