"""Randomness derived from (seed, names), never from a global generator's history.

A run that resumes in the middle therefore draws exactly what an uninterrupted run would have drawn.
"""

from __future__ import annotations

import hashlib
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def seed_for(seed: int, *names: str | int) -> int:
    """A 63-bit seed for one use, e.g. ``seed_for(42, "rce", "shuffle", epoch)``."""
    text = "\x1f".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def python_rng(seed: int, *names: str | int) -> random.Random:
    """A ``random.Random`` for one use."""
    return random.Random(seed_for(seed, *names))


def torch_rng(seed: int, *names: str | int) -> torch.Generator:
    """A CPU ``torch.Generator`` for one use."""
    import torch

    return torch.Generator().manual_seed(seed_for(seed, *names))
