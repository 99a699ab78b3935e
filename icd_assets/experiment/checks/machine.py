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


def answers(look: Look) -> Iterator[Finding]:
    """Where the model's answers are kept: raises ``UserError`` if it is damaged, foreign or locked."""
    from icd_assets.vlm.answers import open_answers, there_are

    path = look.experiment.store.answers
    if look.asks and there_are(path):
        with open_answers(path) as store:
            store.texts([b""])
    yield from ()


def disk(look: Look) -> Iterator[Finding]:
    """Free space against what the planned steps write."""
    if set(look.wanted_splits) - look.rows.keys():
        return  # not known before its files can be read
    experiment, made = look.experiment, set(look.plan.to_make)
    encoder = clip(experiment.encoder(experiment.dataset.encoder))
    if encoder is None:
        return
    rows: dict[str, int] = {split: look.rows.get(split, 0) for split in SPLITS}
    needed = cost.written(experiment, made, rows, encoder.size, encoder.width)
    yield from room("disk", experiment.store.root, needed)
