"""One cell by the names that a user types, with the settings that those names imply."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from icd_assets.experiment.catalog import Catalog
from icd_assets.experiment.experiment import Experiment, results_root
from icd_assets.experiment.recipes import with_implied
from icd_assets.experiment.settings import Settings, assigned, read_settings
from icd_assets.runtime.home import load_env_file, local_folder


def open_cell(
    dataset: str,
    sampler: str,
    model: str,
    settings: Mapping[str, Any] | None = None,
    *,
    preset: str | None = None,
    results: Path | str | None = None,
) -> Experiment:
    """The cell that ``icd-assets train`` would work on in this folder, with the same settings.

    >>> experiment = open_cell("demo", "rand_sampler", "tiny_vl", {"rce_checkpoints.rce_epochs": 2})

    dataset, sampler, model: names or aliases of the catalog.
    settings: ``asset.field`` → value, as of ``--set``. They are stronger than ``preset`` and than
    environment variables (``RCE_EPOCHS``), which count here too.
    results: the results folder, by default ``$RESULT_DIR`` or ``results``.

    Relative paths start at the working directory. Raises ``UserError`` for an unknown name or setting.
    """
    load_env_file()
    catalog = Catalog.load()
    chosen = as_typed(assigned(read_settings(preset), settings or {}), dataset)
    root = results_root() if results is None else local_folder(str(results), "results")
    return Experiment.open(catalog.cell(dataset, sampler, model), chosen, root, catalog)


def as_typed(settings: Settings, dataset: str) -> Settings:
    """The settings with what a recipe and the dataset's typed name imply; explicit ones are stronger."""
    return _with_subset(_with_source(with_implied(settings)), dataset)


def _with_source(settings: Settings) -> Settings:
    """The last phase run becomes the v2-format file, as train_v3.sh does."""
    explicit = dict(settings.explicit)
    phase = "grpo" if explicit.get("grpo_checkpoints", {}).get("grpo_epochs", 0) else "rce"
    explicit["v2format_checkpoint"] = {"source": phase, **explicit.get("v2format_checkpoint", {})}
    return settings.model_copy(update={"explicit": explicit})


def _with_subset(settings: Settings, dataset: str) -> Settings:
    """``vqav2_local_sub`` is vqav2, evaluated on the subset of its validation questions (SPEC B.2)."""
    if not dataset.endswith("_local_sub"):
        return settings
    evaluation = {"subset": True, **settings.explicit.get("evaluation", {})}
    return settings.model_copy(update={"explicit": {**settings.explicit, "evaluation": evaluation}})
