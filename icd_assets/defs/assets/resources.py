"""What a run shares among its steps, as Dagster's resources: set once per run in the Launchpad."""

from __future__ import annotations

from typing import Any

import dagster as dg
from pydantic import Field

from icd_assets.experiment.catalog import Catalog
from icd_assets.experiment.cell import Cell
from icd_assets.experiment.experiment import Experiment, results_root
from icd_assets.experiment.settings import Settings
from icd_assets.experiment.step_configs import Shared
from icd_assets.runtime.home import local_path
from icd_assets.scoring.rewards import RewardSettings
from icd_assets.store.store import Store


class SharedResource(Shared, dg.ConfigurableResource[Shared]):
    """What all steps of a cell must agree on; set it once per run."""

    results_root: str = Field(
        default_factory=lambda: str(results_root()),
        description="Folder of all artifacts, in Lever-Plus' layout. Default: $RESULT_DIR, else ./results.",
    )

    def store(self) -> Store:
        return Store(local_path(self.results_root, "results_root") if self.results_root else results_root())

    def settings(self) -> Shared:
        return Shared(**{name: getattr(self, name) for name in Shared.model_fields})


class RewardResource(RewardSettings, dg.ConfigurableResource[RewardSettings]):
    """The reward that RCE and GRPO learn from; set it once per run."""

    def settings(self) -> RewardSettings:
        return RewardSettings(**{name: getattr(self, name) for name in RewardSettings.model_fields})


def open_experiment(
    partition_key: str,
    shared: SharedResource,
    reward: RewardResource,
    explicit: dict[str, dict[str, Any]] | None = None,
) -> Experiment:
    """The cell of a run, with the run's settings."""
    settings = Settings(shared=shared.settings(), reward=reward.settings(), explicit=explicit or {})
    return Experiment(Cell.parse(partition_key), settings, shared.store(), Catalog.load())
