"""Where the value of each setting comes from, in one cell or before any cell is named."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.settings import Settings, given
from icd_assets.experiment.settings_table import Setting, every_setting

# recipe: what the other settings or the dataset's typed name imply
Source = Literal["default", "catalog", "preset", "environment", ".env", "flag", "set", "recipe"]


@dataclass(frozen=True)
class Origin:
    """``by``: the preset, the variable or the flag; None for the others."""

    source: Source
    by: str | None = None


@dataclass(frozen=True)
class Current:
    """A setting, its value today, and where that comes from."""

    setting: Setting
    value: Any
    origin: Origin


@dataclass(frozen=True)
class GivenBy:
    """All that a command was given. ``flags`` by variable; ``env_file``: the variables that only ``.env`` sets."""

    preset: str | None
    environment: Mapping[str, str]
    flags: Mapping[str, str]
    assignments: Mapping[tuple[str, str], str]
    env_file: Collection[str] = ()

    def origins(self) -> dict[str, Origin]:
        """``asset.field`` → the strongest that gives it."""
        found: dict[str, Origin] = {}
        for one in given(self.preset, self.environment, {}):
            found[f"{one.section}.{one.field}"] = self._of(one.origin)
        flags = {setting.name: setting.flag for setting in every_setting()}
        for one in given(None, self.flags, {}):
            name = f"{one.section}.{one.field}"
            found[name] = Origin("flag", flags[name])
        return found | {f"{section}.{field}": Origin("set", "--set") for section, field in self.assignments}

    def _of(self, origin: str) -> Origin:
        if origin.startswith("preset "):
            return Origin("preset", self.preset)
        return Origin(".env" if origin in self.env_file else "environment", origin)


def current(by: GivenBy, settings: Settings, experiment: Experiment | None) -> list[Current]:
    """Every setting. ``settings`` are read from ``by``; ``experiment`` is a cell with what its names imply."""
    origins = by.origins()
    catalog: Mapping[str, Mapping[str, Any]] = experiment.dataset.settings if experiment is not None else {}
    today = settings if experiment is None else experiment.settings
    found = []
    for setting in every_setting():
        value = _value(setting, today, catalog)
        origin = origins.get(setting.name)
        if origin is None and value != _value(setting, settings, catalog):
            origin = Origin("recipe")
        elif origin is None and setting.field in catalog.get(setting.section, {}):
            origin = Origin("catalog")
        elif origin is None and value != setting.default:
            origin = Origin("recipe")
        found.append(Current(setting, value, origin or Origin("default")))
    return found


def _value(setting: Setting, settings: Settings, catalog: Mapping[str, Mapping[str, Any]]) -> Any:
    if setting.section in ("shared", "reward"):
        return getattr(getattr(settings, setting.section), setting.field)
    return getattr(settings.config(setting.section, catalog), setting.field)
