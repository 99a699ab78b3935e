"""Randomness of code that can only draw from torch's global generator: initialization and dropout."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from icd_assets.runtime.seeding import seed_for


@contextmanager
def isolated_rng(seed: int, *names: str | int) -> Iterator[None]:
    """Inside, the global generators start from (seed, names); outside, the CPU's is as if nothing happened.

    A step's dropout thus depends on the step alone, and a resumed run draws what an uninterrupted one would.
    GPU generators are seeded too, but not restored: nothing of ours reads them without seeding them first.
    (``torch.manual_seed`` would queue a call with a stack trace for a GPU not yet in use, at every step.)
    """
    state = torch.default_generator.get_state()
    value = seed_for(seed, *names)
    try:
        torch.default_generator.manual_seed(value)
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.manual_seed_all(value)
        yield
    finally:
        torch.default_generator.set_state(state)
