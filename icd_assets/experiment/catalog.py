"""What a cell can be made of: datasets, models and encoders, from ``catalog.yaml`` and the user's overlay."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from icd_assets.errors import UserError
from icd_assets.experiment.catalog_entries import (
    AutomationEntry,
    DatasetEntry,
    EncoderEntry,
    ModelEntry,
    TaskEntry,
)
from icd_assets.experiment.catalog_names import require_alias, require_name, require_pair
from icd_assets.experiment.catalog_variables import Expansion, variables
from icd_assets.experiment.cell import Cell
from icd_assets.experiment.suggest import near
from icd_assets.pools.config import SAMPLERS
from icd_assets.runtime.foreign import brief, harmless
from icd_assets.runtime.user_path import expanded
from icd_assets.runtime.yaml_file import read_yaml
from icd_assets.tasks import TASKS, TaskName

CATALOG = Path(__file__).with_name("catalog.yaml")
MODELS = Path(__file__).with_name("models.yaml")  # entries to copy into an overlay: see there

# What can run by itself, once it is switched on, and the fields that it reads: see ``icd_assets/defs/automation``.
_RUN = ("cells", "settings", "force")
AUTOMATION = {
    "rce_schedule": (*_RUN, "cron", "timezone"),
    "grpo_schedule": (*_RUN, "cron", "timezone"),
    "new_inputs": _RUN,
    "offer_grpo": _RUN,
    "changed_data": ("enabled",),
}


class Catalog(BaseModel):
    """All entries by name.

    >>> Catalog.load().cell("okvqa_local", "rand_sampler", "qwen2.5_vl_3B").key
    'okvqa|RandSampler/Qwen2_5-VL-3B-Instruct'
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tasks: dict[TaskName, TaskEntry]
    datasets: dict[str, DatasetEntry]
    models: dict[str, ModelEntry]
    encoders: dict[str, EncoderEntry]
    automation: dict[str, AutomationEntry]

    @classmethod
    def load(cls, overlay: Path | None = None) -> Catalog:
        """The packaged catalog, with the entries of ``overlay`` (default: ``$ICD_CATALOG``) on top."""
        merged = _read(CATALOG)
        merged["tasks"] = {
            name: {"prompt": dict(task.prompt), "generation": dict(task.generation)}
            for name, task in TASKS.items()
        }
        if overlay is None and (named := os.environ.get("ICD_CATALOG")):
            overlay = expanded(named, "ICD_CATALOG")
        if overlay is not None:
            for section, entries in _read(overlay).items():
                merged.setdefault(section, {}).update(entries or {})
        for entries in merged.values():
            for name, entry in entries.items():
                entry["name"] = name
        if left_out := _left_out():
            for entry in merged["datasets"].values():
                entry["leave_out"] = [*entry.get("leave_out", ()), *left_out]
        try:
            catalog = cls.model_validate(merged)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(harmless(str(part))[:60] for part in first["loc"])
            problem = harmless(first["msg"])[:400]
            problem = problem[:1].lower() + problem[1:]
            raise UserError(f"{overlay or 'catalog.yaml'}: {where}: {problem}; fix that field.") from None
        catalog._check_names()
        for dataset in catalog.datasets.values():
            for field in ("encoder", "sampler_encoder"):
                if (name := getattr(dataset, field)) not in catalog.encoders:
                    raise _unknown(f"{field} of dataset {dataset.name}", name, catalog.encoders)
        catalog._check_automation()
        return catalog

    @cached_property
    def cells(self) -> list[Cell]:
        """Every combination, in catalog order."""
        return [Cell(d, s, m) for d in self.datasets for s in SAMPLERS for m in self.models]

    def _check_names(self) -> None:
        for kind, entries in (
            ("a dataset", self.datasets),
            ("a model", self.models),
            ("an encoder", self.encoders),
        ):
            for name in entries:
                require_name(kind, name)
        for dataset in self.datasets.values():
            for alias in dataset.alias_prefixes:
                require_alias(dataset.name, alias)
        for model in self.models.values():
            for alias in model.aliases:
                require_alias(model.name, alias)

    def _check_automation(self) -> None:
        keys = [cell.key for cell in self.cells]
        for entry in self.automation.values():
            if entry.name not in AUTOMATION:
                raise _unknown("automation", entry.name, AUTOMATION)
            for field in sorted(entry.model_fields_set - {"name", *AUTOMATION[entry.name]}):
                raise UserError(
                    f"catalog: automation.{entry.name}.{field} would be ignored; remove it: valid are "
                    f"{', '.join(AUTOMATION[entry.name])}."
                )
            if entry.name == "rce_schedule" and "grpo_checkpoints" in entry.force:
                raise UserError(
                    "catalog: automation.rce_schedule.force: its job has no grpo_checkpoints; take grpo_schedule."
                )
            for key in entry.cells:
                if key not in keys:
                    raise _unknown(f"cell of automation {entry.name}", key, keys)

    def cell(self, dataset: str, sampler: str, model: str) -> Cell:
        """The cell that three command-line names mean; an unknown one is answered with the nearest valid."""
        found = Cell(self._dataset(dataset), self._sampler(sampler), self._model(model))
        require_pair(found.dataset, found.model)
        return found

    def cell_of(self, key: str) -> Cell:
        """The cell of a partition key, which anyone may have typed: spelled as files are, and in the catalog."""
        shown = key if len(key) <= 80 else f"{key[:79]}…"
        example = "demo|RandSampler/tiny_vl"
        try:
            given = Cell.parse(key)
        except ValueError:
            raise UserError(
                f"the partition {shown!r} names no cell; add one like {example!r}: dataset|sampler/model."
            ) from None
        try:
            meant = self.cell(given.dataset, given.sampler, given.model)
        except UserError as error:
            raise UserError(f"the partition {shown!r} names no cell: {error}") from None
        if meant != given:
            raise UserError(f"the partition {shown!r} is spelled {meant.key!r}; add and materialize that one.")
        return given

    def prompted(self, model: str, task: str) -> ModelEntry:
        """A model as it is asked for answers of ``task``."""
        entry, over = self.models[model], self.tasks[task]
        return entry.model_copy(
            update={
                "prompt": entry.prompt.model_copy(update=over.prompt),
                "generation": entry.generation.model_copy(update=over.generation),
            }
        )

    def _dataset(self, alias: str) -> str:
        if alias in self.datasets:
            return alias
        fitting = [
            (len(prefix), name)
            for name, entry in self.datasets.items()
            for prefix in entry.alias_prefixes
            if re.match(re.escape(prefix) + r"(_|$)", alias)
        ]
        if not fitting:
            raise _unknown("dataset", alias, [*self.datasets, *(f"{name}_local" for name in self.datasets)])
        return max(fitting)[1]

    def _sampler(self, alias: str) -> str:
        for sampler in SAMPLERS.values():
            if alias in (sampler.alias, sampler.name):
                return sampler.name
        raise _unknown("sampler", alias, [sampler.alias for sampler in SAMPLERS.values()])

    def _model(self, alias: str) -> str:
        for name, entry in self.models.items():
            if entry.means(alias):
                return name
        for name, entry in known_models().items():
            if entry.means(alias) and entry.unsupported is not None:
                raise UserError(f"model {name} cannot be used: {entry.unsupported}.")
            if entry.means(alias):
                raise UserError(
                    f"model {name} is not in the catalog; copy its entry from {MODELS} into an overlay and name "
                    "that by ICD_CATALOG."
                )
        raise _unknown("model", alias, [a for entry in self.models.values() for a in entry.aliases])


def _left_out() -> list[str]:
    """``$ICD_LEAVE_OUT``: texts between commas or blanks, on top of every dataset's own ``leave_out``."""
    return os.environ.get("ICD_LEAVE_OUT", "").replace(",", " ").split()


def known_models() -> dict[str, ModelEntry]:
    """Models that are known to work, or not to, and are not in the catalog."""
    entries = _read(MODELS)["models"]
    return {name: ModelEntry.model_validate({"name": name, **entry}) for name, entry in entries.items()}


def _unknown(kind: str, found: str, valid: Iterable[str]) -> UserError:
    names = list(dict.fromkeys(valid))
    hint = f"did you mean {meant}? " if (meant := near(found, names)) else ""
    return UserError(f"unknown {kind} {brief(found)}: {hint}valid: {', '.join(names)}.")


def _read(path: Path) -> dict[str, dict[str, dict[str, Any]]]:
    try:
        content = read_yaml(path)
    except FileNotFoundError:
        raise UserError(f"catalog {path} does not exist; fix ICD_CATALOG.") from None
    except OSError as error:
        raise UserError(f"catalog {path} cannot be read ({error.strerror}); fix it, or ICD_CATALOG.") from None
    except ValueError as error:
        raise UserError(f"catalog {path} is not readable YAML ({error}); fix it.") from None
    if not isinstance(content, dict) or not all(
        isinstance(section, dict) and all(isinstance(entry, dict) for entry in section.values())
        for section in content.values()
    ):
        raise UserError(f"catalog {path} must hold sections of named entries, as catalog.yaml does; fix it.")
    for entry in content.get("datasets", {}).values():
        for files in entry.values():
            if isinstance(files, dict) and "images" in files:
                files["variables"] = variables([text for name, text in files.items() if name != "images"])
    return Expansion(path).of(content)  # type: ignore[no-any-return]
