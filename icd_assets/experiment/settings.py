"""The settings of one run, and where each comes from.

A setting's value is, from weakest to strongest: the library's default, the catalog's value for the dataset,
a preset, an environment variable (SPEC K.6), a flag or a field of Dagster's Launchpad. The catalog may only
set what the Launchpad shows as unset, so a value shown there is the value used.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from icd_assets.errors import UserError
from icd_assets.experiment.folder_name import of_typed
from icd_assets.experiment.step import Step
from icd_assets.experiment.step_configs import Shared
from icd_assets.experiment.steps import STEP, sections, shared_fields
from icd_assets.experiment.suggest import did_you_mean
from icd_assets.runtime.foreign import brief, harmless
from icd_assets.runtime.home import local_path
from icd_assets.scoring.rewards import RewardSettings
from icd_assets.selector.config import LEVER_PLUS

_TYPED = "weights as typed"  # beside the sections while settings are read: texts that name folders


class Settings(BaseModel):
    """Every explicit setting of one run: what differs from defaults and catalog, and nothing else."""

    model_config = ConfigDict(frozen=True)

    shared: Shared = Shared()
    reward: RewardSettings = RewardSettings()
    explicit: dict[str, dict[str, Any]] = {}

    def config(self, asset: str, catalog: Mapping[str, Mapping[str, Any]]) -> Any:
        """The complete config of one step; ``catalog`` is the dataset entry's ``settings``."""
        step = STEP[asset]
        given = {key: value for key, value in self.explicit.get(asset, {}).items() if value is not None}
        values = {**_catalog_values(step, catalog), **given}
        values |= {name: getattr(self.shared, name) for name in shared_fields(step.config)}
        try:
            return step.config(**values)
        except ValidationError as error:
            first = error.errors()[0]
            field = "".join(f".{part}" for part in first["loc"])
            value = f"={_typed(first['input'])}" if field else ""  # of a whole step, all its settings
            raise UserError(f"{asset}{field}{value}: {_problem(first['msg'])}; fix that setting.") from None


def _catalog_values(step: Step, catalog: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    values = dict(catalog.get(step.name, {}))
    if foreign := sorted(set(values) - step.catalog_fields):
        allowed = ", ".join(sorted(step.catalog_fields)) or "nothing"
        raise UserError(
            f"catalog: settings.{step.name}.{foreign[0]} cannot be set per dataset (allowed here: {allowed})."
        )
    return values


def environment_fields() -> dict[str, list[tuple[str, str]]]:
    """Environment variable → its (section, field)s, for every setting that has one (SPEC K.6).

    One variable may mean several: BATCH_SIZE is that of RCE and of GRPO. Several may mean one: upstream's scripts
    and its documents spell some differently (USE_PPO_CLIP_ONLY, USE_PPO_CLIP).
    """
    found: dict[str, list[tuple[str, str]]] = {}
    for section, model in sections().items():
        for name, field in model.model_fields.items():
            extra = field.json_schema_extra
            if not isinstance(extra, dict) or not isinstance(variable := extra.get("env"), str):
                continue
            also = extra.get("also")
            for spelling in (variable, *(also if isinstance(also, list) else ())):
                found.setdefault(str(spelling), []).append((section, name))
    return found


def other_spellings(variable: str) -> list[str]:
    """The other variables that set the same."""
    known = environment_fields()
    return [name for name, places in known.items() if name != variable and places[0] in known[variable]]


@dataclass(frozen=True)
class Given:
    """One value that a preset, the environment or ``--set`` gives; ``origin`` names it in a message."""

    section: str
    field: str
    value: Any
    origin: str


def given(
    preset: str | None = None,
    environment: Mapping[str, str] | None = None,
    assignments: Mapping[tuple[str, str], str] | None = None,
) -> Iterator[Given]:
    """All values that are given, each stronger than those before it."""
    environment = os.environ if environment is None else environment
    if preset is not None:
        for section, fields in _preset(preset).items():
            for field, value in fields.items():
                yield Given(section, field, value, f"preset {preset}: {section}.{field}")
    for variable, places in environment_fields().items():
        if (text := environment.get(variable)) not in (None, ""):
            _require_agreement(variable, environment)
            for section, field in places:
                yield Given(section, field, text, variable)
    for (section, field), value in (assignments or {}).items():
        yield Given(section, field, value, f"{section}.{field}")


def read_settings(
    preset: str | None = None,
    environment: Mapping[str, str] | None = None,
    assignments: Mapping[tuple[str, str], str] | None = None,
) -> Settings:
    """Settings from a preset, the environment (with flags on top) and ``--set``, each stronger than the last.

    Every value is checked against its field, and a bad one is named by where it came from: ``RCE_EPOCHS``.
    """
    values: dict[str, dict[str, Any]] = {}
    for one in given(preset, environment, assignments):
        _set(values, one.section, one.field, one.value, one.origin)
    return _checked(values)


def _require_agreement(variable: str, environment: Mapping[str, str]) -> None:
    section, field = environment_fields()[variable][0]
    for other in other_spellings(variable):
        text = environment.get(other)
        if text not in (None, "") and not _equal(section, field, environment[variable], text):
            raise UserError(
                f"{variable} is {_typed(environment[variable])} and {other} is {_typed(text)}, which are one "
                "setting; unset one of them."
            )


def _equal(section: str, field: str, one: str, other: str | None) -> bool:
    """Whether two texts are one value: ``1`` is ``true``, ``.2`` is ``0.20``."""
    model = sections()[section]
    try:
        values = [getattr(model.model_validate({field: text}), field) for text in (one, other)]
    except ValidationError:  # said of the one that is read
        return one == other
    return bool(values[0] == values[1])


_RAW_OR_NORMALIZED = ("rce_use_raw_reward", "rce_use_normalized_reward")


def assigned(settings: Settings, assignments: Mapping[str, Any]) -> Settings:
    """``settings`` with ``{"asset.field": value}`` on top, each value checked against its field."""
    values = {"shared": settings.shared.model_dump(), "reward": settings.reward.model_dump()}
    values |= {asset: dict(fields) for asset, fields in settings.explicit.items()}
    for one, other in (_RAW_OR_NORMALIZED, _RAW_OR_NORMALIZED[::-1]):  # the newer choice unmakes the older
        if assignments.get(f"rce_checkpoints.{one}") and f"rce_checkpoints.{other}" not in assignments:
            values.get("rce_checkpoints", {}).pop(other, None)
    for place, value in assignments.items():
        section, _, field = place.partition(".")
        _set(values, section, field, value, place)
    return _checked(values)


def _checked(values: dict[str, dict[str, Any]]) -> Settings:
    _decide_contradictions(values)
    shared, reward, typed = (values.pop(name, {}) for name in ("shared", "reward", _TYPED))
    if typed:
        texts = (typed.get(name, str(float(reward.get(name, 1.0)))) for name in ("hard_weight", "soft_weight"))
        shared["reward_suffix"] = of_typed(*texts)
    return Settings(shared=Shared(**shared), reward=RewardSettings(**reward), explicit=values)


def _set(values: dict[str, dict[str, Any]], section: str, field: str, value: Any, origin: str) -> None:
    model = sections().get(section)
    if model is None or field not in model.model_fields:
        raise _no_such_setting(
            origin, section, field, list(sections()) if model is None else [*model.model_fields]
        )
    if section in STEP and field in Shared.model_fields:
        raise UserError(f"{origin}: all steps share this setting; set shared.{field} instead.")
    info = model.model_fields[field]
    if isinstance(value, str) and "list" in str(info.annotation):
        value = [part for part in value.replace(",", " ").split() if part]
    if isinstance(info.json_schema_extra, dict) and info.json_schema_extra.get("path"):
        value = str(local_path(str(value), origin))  # the command, unlike the UI, may run in any folder
    try:
        checked = model.model_validate({field: value})
    except ValidationError as error:
        first = next((e for e in error.errors() if e["loc"][:1] == (field,)), error.errors()[0])
        raise UserError(f"{origin}={_typed(value)}: {_problem(first['msg'])}; fix or unset {origin}.") from None
    if (problem := _out_of_bounds(getattr(checked, field))) is not None:
        raise UserError(f"{origin}={_typed(value)}: {problem}; fix or unset {origin}.")
    values.setdefault(section, {})[field] = json.loads(checked.model_dump_json())[field]
    if section == "reward" and field in ("hard_weight", "soft_weight") and isinstance(value, str):
        values.setdefault(_TYPED, {})[field] = value.strip()


def _no_such_setting(origin: str, section: str, field: str, known: list[str]) -> UserError:
    names = [f"{name}.{one}" for name, model in sections().items() for one in model.model_fields]
    elsewhere = [name for name in names if name.endswith(f".{field}")]
    hint = f"; did you mean {elsewhere[0]}?" if elsewhere else did_you_mean(f"{section}.{field}", names)
    return UserError(f"{origin}: there is no such setting; known: {', '.join(known)}{hint}")


def _problem(message: str) -> str:
    message = harmless(message.removeprefix("Value error, "))[:400]
    return message[:1].lower() + message[1:]


def _typed(value: Any) -> str:
    """A value as it was typed, if that can be shown on a line."""
    if isinstance(value, str) and value.isprintable() and len(value) <= 80:
        return value
    return brief(value)


_LARGEST = 1 << 63  # numbers of 64 bits are written, hashed and counted; no setting has larger ones
_LONGEST = 4000  # characters of a text, and parts of a list


def _out_of_bounds(value: Any) -> str | None:
    """What is wrong with a value that fits its field: no step could work with it, or no manifest keep it."""
    if isinstance(value, float) and not math.isfinite(value):
        return "must be a finite number"
    if isinstance(value, int) and not -_LARGEST <= value < _LARGEST:
        return "must be a number of at most 64 bits"
    if isinstance(value, str) and (len(value) > _LONGEST or not _encodable(value) or "\0" in value):
        return f"must be UTF-8 text of at most {_LONGEST:,} characters"
    if isinstance(value, list | tuple):
        if len(value) > _LONGEST:
            return f"must have at most {_LONGEST:,} parts"
        return next(filter(None, map(_out_of_bounds, value)), None)
    return None


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _decide_contradictions(values: dict[str, dict[str, Any]]) -> None:
    """Raw and normalized RCE reward exclude each other; upstream ignores the second (SPEC K.6)."""
    rce = values.get("rce_checkpoints", {})
    if rce.get("rce_use_normalized_reward"):
        if rce.get("rce_use_raw_reward"):
            raise UserError("RCE_USE_RAW_REWARD and RCE_USE_NORMALIZED_REWARD are both true; unset one of them.")
        rce["rce_use_raw_reward"] = False


# Named groups of settings: section → field → value. Flags and environment variables win over them.
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    # Upstream's arithmetic wherever ours differs (SPEC K, O.2), for comparison.
    "lever_plus": {
        "beam_data": {"rank": "last_step", "expand": 0, "keep_reorderings": True},
        "rce_checkpoints": LEVER_PLUS["RceConfig"],
        "grpo_checkpoints": LEVER_PLUS["GrpoConfig"],
    },
    # The best recipe that upstream reports (SPEC K.6): pick the GRPO epoch by hand or with epoch=best.
    "plan_five": {
        "rce_checkpoints": {"rce_epochs": 5, "rce_use_raw_reward": True, "batch_size": 1, "rce_lr": 1e-4},
        "grpo_checkpoints": {"grpo_epochs": 50, "batch_size": 1, "grpo_lr": 5e-6, "kl_beta": 0.1},
        "v2format_checkpoint": {"epoch": "best"},
    },
    # The cheapest labels alone.
    "dense": {"shared": {"recipe": "singles"}},
    "sequences": {"shared": {"recipe": "sequences"}},
    # 50 labelled queries, then two rounds of rewards on others.
    "weak_start": {
        "shared": {"recipe": "rl"},
        "single_labels": {"rows": 50},
        "rl_data": {"rounds": 2},
    },
}


def _preset(name: str) -> dict[str, dict[str, Any]]:
    if name not in PRESETS:
        raise UserError(f"unknown preset {brief(name)}; valid: {', '.join(PRESETS)}{did_you_mean(name, PRESETS)}")
    return PRESETS[name]
