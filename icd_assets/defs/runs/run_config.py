"""The config of a run of one cell, as Dagster takes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from icd_assets.experiment.settings import Settings


def build_run_config(settings: Settings, root: Path, names: list[str], force: frozenset[str]) -> dict[str, Any]:
    """Explicit settings only, so that the record shows what was asked for; the others are defaults."""
    ops = {name: {"config": {**settings.explicit.get(name, {}), "force": name in force}} for name in names}
    return {
        "ops": ops,
        "resources": {
            "shared": {"config": {**settings.shared.model_dump(), "results_root": str(root), "unset": "default"}},
            "reward": {"config": settings.reward.model_dump()},
        },
    }
