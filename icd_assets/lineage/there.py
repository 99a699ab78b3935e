"""What of a cell is on disk besides the experiment that the settings mean: other rewards, names and numbers.

The settings that decide an artifact's place are those of the reward, the experiment's name, and the numbers that
stand in file names. Whoever asks about a cell sees all that is there, and what to type to get to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from icd_assets.errors import UserError
from icd_assets.experiment import folder_name
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.recipes import STAGES
from icd_assets.experiment.settings_table import every_setting, in_words
from icd_assets.experiment.step_configs import Shared
from icd_assets.experiment.variants import variants
from icd_assets.lineage.as_made import manifests_behind
from icd_assets.scoring.rewards import RewardSettings
from icd_assets.store.manifest import Manifest

_NUMBERS = ("shots", "pool_size", "beam_size", "seed")
# Assets of one cell that such a number tells apart.
_NUMBERED = ("beam_data", "v2_checkpoint", "single_labels", "rl_data")
_TRAINED = ("rce_checkpoints", "grpo_checkpoints")
_REWARDED = (*_TRAINED, "rl_selector")
_IN_FOLDER = ("evaluation", "v2format_checkpoint", *reversed(_TRAINED), *reversed(STAGES))


def fitting(experiment: Experiment) -> tuple[Experiment, str | None]:
    """The experiment, or, where its reward or its name is none of this cell, that of the default, and why."""
    settings, problem = experiment.settings, None
    by_default: tuple[dict[str, Any], ...] = (
        {"reward": RewardSettings(), "shared": settings.shared.model_copy(update={"reward_suffix": None})},
        {
            "reward": RewardSettings(),
            "shared": settings.shared.model_copy(update={"reward_suffix": None, "name": None}),
        },
    )
    for update in ({}, *by_default):
        one = replace(experiment, settings=settings.model_copy(update=update))
        try:
            assert one.suffix is not None  # asks for reward and name
        except UserError as error:
            problem = problem or str(error)
        else:
            return one, problem
    raise UserError(str(problem))


def others(experiment: Experiment, live: Iterable[Manifest]) -> list[Experiment]:
    """The cell's other experiments that have artifacts of their own, each with the settings that tell it apart as
    it was made with, and all others as in ``experiment``. ``live``: the manifests beside artifacts."""
    found: dict[Any, Experiment] = {}
    for one in (*_by_folder(experiment), *_by_numbers(experiment, live)):
        found.setdefault(_identity(one), one)
    found.pop(_identity(experiment), None)
    return list(found.values())


def flags(one: Experiment, than: Experiment) -> str:
    """What to type to mean ``one`` where ``than`` would be meant without: ``--reward-mode legacy``."""
    groups = (
        ("reward", one.reward.model_dump(), than.reward.model_dump()),
        ("shared", one.settings.shared.model_dump(), than.settings.shared.model_dump()),
    )
    differing = {
        f"{section}.{field}": value
        for section, values, base in groups
        for field, value in values.items()
        if value != base[field] and field not in ("reward_suffix", "trackers")
    } | _weights(one, than)
    found = [_typed(name, value) for name, value in differing.items()]
    found.sort(key=lambda text: text.startswith("without"))
    return " ".join(found) or f"v3 folder {one.suffix or 'without suffix'}"


def under(flags: str) -> str:
    """What is shown of another experiment, by its ``flags``: ``with --name kl012``, ``without --name``."""
    return flags if flags.startswith("without") else f"with {flags}"


def _weights(one: Experiment, than: Experiment) -> dict[str, str]:
    """The weights that ``one``'s folder has in another text, which names it: ``2`` is not ``2.0``."""
    found, base = (_texts(experiment) for experiment in (one, than))
    names = ("reward.hard_weight", "reward.soft_weight")
    return {name: text for name, text, other in zip(names, found, base, strict=True) if text != other}


def _texts(experiment: Experiment) -> tuple[str, str]:
    """(hard, soft) as in the folder's name, or, where no weights are in it, as numbers are written there."""
    reward = experiment.reward
    found = folder_name.texts(folder_name.split(experiment.suffix)[0])
    plain = str(reward.hard_weight), str(reward.soft_weight)
    return plain if reward.mode != "hard_plus_soft" or found is None else found


def _typed(name: str, value: Any) -> str:
    flag = next(setting.flag for setting in every_setting() if setting.name == name)
    if value is None:
        return f"without {flag or name}"
    return f"{flag} {in_words(value)}" if flag is not None else f"--set {name}={in_words(value)}"


def _identity(experiment: Experiment) -> tuple[Any, ...]:
    return experiment.suffix, *(getattr(experiment.settings.shared, name) for name in _NUMBERS)


def _by_folder(experiment: Experiment) -> Iterator[Experiment]:
    for variant in variants(experiment):
        made = _made(variant, _last(variant))
        one = _with_numbers(variant, made)
        reward = _reward(made)
        if variant.suffix != experiment.suffix and reward is not None:
            settings = one.settings.model_copy(update={"reward": reward})
            one = replace(one, settings=settings)
        yield one


def _by_numbers(experiment: Experiment, live: Iterable[Manifest]) -> Iterator[Experiment]:
    for manifest in live:
        if manifest.cell == experiment.cell.key and manifest.spec.asset in _NUMBERED:
            yield _with_numbers(experiment, _made(experiment, manifest))


def _last(experiment: Experiment) -> Manifest | None:
    """The latest artifact in an experiment's folders that can be read."""
    for asset in _IN_FOLDER:
        try:
            if (manifest := experiment.manifest(asset)) is not None:
                return manifest
        except UserError:  # its own line says so
            continue
    return None


def _made(experiment: Experiment, manifest: Manifest | None) -> dict[str, Manifest]:
    """What ``manifest`` was made from, by asset, as far as it can be read."""
    if manifest is None:
        return {}
    try:
        return manifests_behind(experiment.store, manifest)
    except UserError:
        return {manifest.spec.asset: manifest}


def _with_numbers(experiment: Experiment, made: dict[str, Manifest]) -> Experiment:
    numbers = {
        name: manifest.spec.config[name]
        for manifest in made.values()
        for name in _NUMBERS
        if name in manifest.spec.config
    }
    shared = experiment.settings.shared
    try:
        Shared(**numbers)
    except ValueError:  # a config of another version
        return experiment
    settings = experiment.settings.model_copy(update={"shared": shared.model_copy(update=numbers)})
    return replace(experiment, settings=settings)


def _reward(made: dict[str, Manifest]) -> RewardSettings | None:
    for asset in _REWARDED:
        config = made[asset].spec.config.get("reward") if asset in made else None
        try:
            if isinstance(config, dict):
                return RewardSettings(**config)
        except (ValueError, UserError):  # of another version
            continue
    return None
