"""What a run shares among its steps, as Dagster's resources: set once per run in the Launchpad."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import dagster as dg
from pydantic import Field, create_model

from icd_assets.defs.assets.forms import given, unset_fields
from icd_assets.experiment.catalog import Catalog
from icd_assets.experiment.experiment import Experiment, results_root
from icd_assets.experiment.settings import Settings, assigned
from icd_assets.experiment.step_configs import Shared
from icd_assets.lineage.as_made import last_made
from icd_assets.runtime.home import local_folder
from icd_assets.scoring.rewards import RewardSettings
from icd_assets.store.store import Store


def _form(name: str, model: Any) -> Any:
    return create_model(name, __base__=dg.ConfigurableResource, **unset_fields(model, model.model_fields))


class SharedResource(_form("SharedForm", Shared)):  # type: ignore[misc]
    """What all steps of a cell must agree on; set it once per run."""

    unset: Literal["as_made", "default"] = Field(
        "as_made",
        description="What a setting means that is not set. as_made: as the cell's newest artifacts were made, "
        "where there are any. default: the catalog's value for the dataset, else the default.",
    )
    results_root: str = Field(
        default_factory=lambda: str(results_root()),
        description="Folder of all artifacts, in Lever-Plus' layout. Default: $RESULT_DIR, else ./results.",
    )

    def store(self) -> Store:
        return Store(local_folder(self.results_root, "results_root") if self.results_root else results_root())

    def given(self) -> dict[str, Any]:
        return given(self, Shared.model_fields)


class RewardResource(_form("RewardForm", RewardSettings)):  # type: ignore[misc]
    """The reward that RCE and GRPO learn from; set it once per run."""

    def given(self) -> dict[str, Any]:
        return given(self, RewardSettings.model_fields)


class Asked(NamedTuple):
    """The cell of a run with its settings, and where they come from: None where the run gives all of them."""

    experiment: Experiment
    origin: str | None


def asked(
    partition_key: str,
    shared: SharedResource,
    reward: RewardResource,
    explicit: dict[str, dict[str, Any]] | None = None,
    run_id: str | None = None,
) -> Asked:
    """What a run asks for: the settings that are set, on top of those that the cell was made with.

    Raises ``UserError`` for a key that names no cell, a bad value, and artifacts whose settings cannot be read.
    """
    catalog, store = Catalog.load(), shared.store()
    cell = catalog.cell_of(partition_key)
    sections = {"shared": shared.given(), "reward": reward.given(), **(explicit or {})}
    places = {f"{name}.{field}": value for name, fields in sections.items() for field, value in fields.items()}
    if shared.unset == "default":
        return Asked(Experiment(cell, assigned(Settings(), places), store, catalog), None)
    made = last_made(store, cell, catalog, places, run_id)
    settings = assigned(made.settings if made is not None else Settings(), places)
    texts = ", ".join(f"{place}={value}" for place, value in places.items()) or "none"
    origin = f"as made ({made.paths.v3_folder.name})" if made is not None else "defaults, for nothing is made yet"
    return Asked(Experiment(cell, settings, store, catalog), f"{origin}; set in this run: {texts}")


def open_experiment(partition_key: str, shared: SharedResource, reward: RewardResource) -> Experiment:
    """The cell of a run, for a check."""
    return asked(partition_key, shared, reward).experiment
