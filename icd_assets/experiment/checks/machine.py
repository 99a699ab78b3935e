"""The machine of a run: packages that fit together, a results folder that can be written, room on its disk."""

from __future__ import annotations

from collections.abc import Iterator

from icd_assets.experiment.checks import cost
from icd_assets.experiment.checks.look import SPLITS, Look
from icd_assets.experiment.checks.models import clip
from icd_assets.experiment.checks.places import place, room
from icd_assets.runtime.finding import Finding


def results(look: Look) -> Iterator[Finding]:
    """Where everything is written."""
    yield from place("results", look.experiment.store.root)


def disk(look: Look) -> Iterator[Finding]:
    """Free space against what the planned steps write."""
    if len(look.rows) < len(SPLITS) and not set(look.plan.to_make) <= {"rce_checkpoints", "grpo_checkpoints"}:
        return
    experiment, made = look.experiment, set(look.plan.to_make)
    encoder = clip(experiment.encoder(experiment.dataset.encoder))
    if encoder is None:
        return
    rows: dict[str, int] = {split: look.rows.get(split, 0) for split in SPLITS}
    needed = cost.written(experiment, made, rows, encoder.size, encoder.width)
    yield from room("disk", experiment.store.root, needed)
