"""What a cell was made with, as others may see it: settings that are not the defaults, and the command."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import PurePath
from typing import Any, NamedTuple

from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.settings import Settings
from icd_assets.experiment.settings_origins import GivenBy, current
from icd_assets.experiment.settings_table import Setting, in_words
from icd_assets.lineage.command import command

# It says how weights are written in a folder's name.
_NO_CHOICE = "shared.reward_suffix"


class Differing(NamedTuple):
    """A setting that is not the program's default; ``by_catalog``: the dataset's entry says so."""

    setting: Setting
    value: Any
    by_catalog: bool

    @property
    def text(self) -> str:
        """The value; of a path its last part, for the rest is the machine's."""
        path = self.setting.kind == "PATH" and self.value is not None
        return PurePath(self.value).name if path else in_words(self.value)


def differing(made: Experiment, assets: Collection[str]) -> list[Differing]:
    """The settings of the ``assets`` of a cell, and of what they share, that are not the defaults."""
    before = _values(replace(made, settings=Settings(), folder=None))
    found = []
    for setting, value in _values(made).values():
        usual = before[setting.name][1]
        default = usual if setting.section == "reward" else setting.default  # a reward's is the task's
        counts = setting.section in ("shared", "reward", *assets) and setting.name != _NO_CHOICE
        if counts and value != default:
            found.append(Differing(setting, value, value == usual))
    return found


def _values(experiment: Experiment) -> Mapping[str, tuple[Setting, Any]]:
    reward = experiment.reward.model_dump()
    return {
        one.setting.name: (
            one.setting,
            reward[one.setting.field] if one.setting.section == "reward" else one.value,
        )
        for one in current(GivenBy(None, {}, {}, {}), experiment.settings, experiment)
    }


def shared_command(experiment: Experiment) -> str:
    """The command that makes the cell again, in one line; of a path its last part."""
    words = shlex.split(command(experiment, "evaluation"))
    return shlex.join(" ".join(re.sub(r"(?<![^=])/.*", _name, word).split()) for word in words)


def _name(path: re.Match[str]) -> str:
    return PurePath(path[0]).name
