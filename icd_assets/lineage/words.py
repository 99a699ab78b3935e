"""A chain in words: what became of an artifact, when it was made, and by which run."""

from __future__ import annotations

from icd_assets.lineage.chain import State

STATE_IN_WORDS: dict[State, str] = {
    "current": "",
    "outside": "",
    "remade": "made again since",
    "removed": "removed since",
    "elsewhere": "made elsewhere, says lineage.json",
    "unknown": "no manifest of it under this results root",
}


def moment(created_at: str) -> str:
    """``2026-11-26 11:52:06 UTC``"""
    return created_at.replace("T", " ").replace("+00:00", " UTC")


def run_name(run_id: str) -> str:
    """The first part of a UUID names a run well enough, to Dagster's UI and to ``icd-assets lineage`` too."""
    return run_id if len(run_id) != 36 else run_id[:8]
