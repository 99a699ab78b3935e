"""The command that makes a cell again, from the settings that its artifacts were made with."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import Any, NamedTuple

from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.open_cell import as_typed
from icd_assets.experiment.settings import Settings
from icd_assets.experiment.settings_origins import GivenBy, current
from icd_assets.experiment.settings_table import Setting
from icd_assets.pools.config import SAMPLERS


class Differing(NamedTuple):
    """A setting that is not the program's default; ``by_catalog``: the dataset's entry says so."""

    setting: Setting
    value: Any
    by_catalog: bool


def differing(made: Experiment, assets: Collection[str]) -> list[Differing]:
    """The settings of the ``assets`` of a cell, and of what they share, that are not the defaults."""
    plain = replace(made, settings=as_typed(Settings(), made.cell.dataset), folder=None)
    before, found = _values(plain), []
    for setting, value in _values(made).values():
        usual = before[setting.name][1]
        default = usual if setting.section == "reward" else setting.default  # a reward's is the task's
        counts = setting.section in ("shared", "reward", *assets) and setting.name not in _IMPLIED
        if counts and value != default:
            found.append(Differing(setting, value, value == usual))
    return found


# ``train`` derives it from the phases that are run; the rest says how texts are written in a folder's name.
_IMPLIED = ("v2format_checkpoint.source", "shared.reward_suffix")


def _values(experiment: Experiment) -> Mapping[str, tuple[Setting, Any]]:
    found = current(GivenBy(None, {}, {}, {}), experiment.settings, experiment)
    reward = experiment.reward.model_dump()
    return {
        one.setting.name: (
            one.setting,
            reward[one.setting.field] if one.setting.section == "reward" else one.value,
        )
        for one in found
    }


def command(made: Experiment, given: Sequence[Differing]) -> str:
    """``icd-assets train …`` with what is ``given`` by neither catalog nor default, in one line for a shell."""
    cell = made.cell
    words = ["icd-assets", "train", cell.dataset, SAMPLERS[cell.sampler].alias, cell.model]
    for one in given:
        if not one.by_catalog and one.value is not None:
            words += _typed(one)
    return shlex.join(words)


def _typed(one: Differing) -> list[str]:
    text, flag = as_text(one), one.setting.flag
    if flag is None:
        return ["--set", f"{one.setting.name}={text}"]
    if one.setting.kind == "FLAG":
        return [flag if one.value else f"--no-{flag.removeprefix('--')}"]
    return [flag, text]


def as_text(one: Differing) -> str:
    """The value as ``--set`` takes it; of a path its last part, for it is one of the machine."""
    if one.setting.kind == "PATH" and one.value is not None:
        return PurePath(one.value).name
    return _text(one.value)


def _text(value: Any) -> str:
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(_text, value)) if isinstance(value, list | tuple) else str(value)
