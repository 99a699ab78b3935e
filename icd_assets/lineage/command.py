"""The command that makes an artifact again: what it was made with, where that is not the default."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.settings import Settings
from icd_assets.experiment.settings_table import every_setting, in_words
from icd_assets.lineage.as_made import as_made


def command(experiment: Experiment, asset: str) -> str:
    """``icd-assets train …`` with the settings that ``asset`` and all behind it were made with.

    Raises ``UserError`` if a manifest on the way cannot be read.
    """
    made = as_made(experiment.store, experiment.manifest_path(asset), experiment.catalog)
    words = (made.cell.dataset, made.cell.sampler, made.cell.model)
    return " ".join(map(shlex.quote, ["icd-assets", "train", *words, *_flags(made)]))


def _flags(made: Experiment) -> Iterator[str]:
    flags = {setting.name: setting.flag for setting in every_setting() if setting.kind != "FLAG"}
    for name, value in _changed(made):
        text = repr(value) if isinstance(value, float) else in_words(value)
        flag = flags.get(name)
        yield from (flag, text) if flag is not None else ("--set", f"{name}={text}")


def _changed(made: Experiment) -> Iterator[tuple[str, Any]]:
    """Each setting that is not as it is by default in this cell; one that is left open cannot be typed."""
    plain = replace(made, settings=Settings())
    groups = {
        "shared": (made.settings.shared.model_dump(exclude={"reward_suffix"}), plain.settings.shared),
        "reward": (made.settings.reward.model_dump(), plain.settings.reward),
        **{asset: (fields, plain.config(asset)) for asset, fields in made.settings.explicit.items()},
    }
    for section, (fields, default) in groups.items():
        for field, value in fields.items():
            if value is not None and value != getattr(default, field):
                yield f"{section}.{field}", value
