"""What a tracker is given of a run, and what it must be able to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

PROJECT = "icd-assets"


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """One build of an artifact. It keeps its ``id`` when it is killed and goes on; made anew it has another.

    ``group``: the cell and the experiment's name; ``config``: the settings that mattered and the digests of the
    inputs, flat; ``folder``: where a tracker without a server writes.
    """

    id: str
    name: str
    group: str
    config: Mapping[str, Any]
    folder: Path


class Tracker(Protocol):
    """A run that is open at a tracker. What it raises switches the tracker off, and does nothing else."""

    @property
    def link(self) -> str:
        """Where to look at the run: a URL, or a path."""

    def log(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """One epoch's numbers; ``epoch`` counts from 1. A run that goes on gets all its epochs again, from the
        first: one that is there is not to be there twice."""

    def summarize(self, scores: Mapping[str, float]) -> None:
        """Numbers of the run as a whole, once or again."""

    def close(self, *, complete: bool) -> None:
        """The run has ended: it is ``complete``, or was interrupted and may go on."""


# What a package offers under the entry point ``icd_assets.trackers``.
Open = Callable[[TrackedRun], Tracker]
