"""What stands in the way of a run, looked for before its first step: one list, for every command that asks.

``train`` stops at the problems, ``train --dry-run`` and ``doctor`` show them. A check looks at what the planned
steps need and at nothing else: where nothing is to be made, nothing is looked at. What whole files are read for is
remembered by content (:mod:`~icd_assets.experiment.checks.scans`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from icd_assets.experiment.checks import (
    data,
    judges,
    machine,
    models,
    own_files,
    pictures,
    pools,
    possible,
    settings,
    texts,
)
from icd_assets.experiment.checks.look import Look
from icd_assets.runtime.finding import Finding, findings

__all__ = ["CHECKS", "Look", "check"]


def _texts(look: Look) -> Iterator[Finding]:
    """Texts go to the VLM and to CLIP; who trains on answers that are there reads none."""
    if look.reads_pictures or look.thorough:
        yield from texts.texts(look.experiment, look.splits)


# What a check is about, and the check; the cheap ones first.
CHECKS: tuple[tuple[str, Callable[[Look], Iterable[Finding]]], ...] = (
    ("results", machine.results),
    ("plan", possible.plan),
    ("settings", settings.settings),
    ("dataset", data.dataset),
    ("pools", pools.pools),
    ("v2_checkpoint", own_files.v2_checkpoint),
    ("rl_data", own_files.rl_data),
    ("artifacts", judges.judged),
    ("model", models.vlm),
    ("encoder", models.encoders),
    ("images", pictures.pictures),
    ("texts", _texts),
    ("disk", machine.disk),
)


def check(look: Look) -> Iterator[Finding]:
    """All that stands in the way of ``look.plan``; nothing if the plan makes nothing."""
    if not look.plan.to_make and not look.thorough:
        return
    for subject, look_for in CHECKS:
        yield from findings(subject, lambda look_for=look_for: look_for(look))  # type: ignore[misc]
