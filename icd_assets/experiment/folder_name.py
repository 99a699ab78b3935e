"""How the v3 folders of one cell are told apart: what follows sampler and model in their names (SPEC A.2).

``v3_<sampler>_<model>[_h<hard>_s<soft> | _<mode>][_<name>]``: the reward as upstream writes it, weights in the
text that the user typed (``HARD_WEIGHT=2`` is ``_h2_s1.0``); then the name of the experiment, as its sweeps append
``_kl012`` by hand.

One reward may be written in several ways. A folder of the same weights that holds artifacts is used under whatever
text, so that no reward is trained twice unasked; only where there is none does the text decide.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from icd_assets.errors import UserError
from icd_assets.runtime.foreign import brief
from icd_assets.scoring.rewards import REWARD_MODES, RewardConfig, RewardSettings, suffix
from icd_assets.store.names import MANIFEST

_NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_LONGEST_REWARD = 60  # characters of the reward's part; a folder's name has 255 bytes for all
_WEIGHTS = re.compile(rf"_h(?P<hard>{_NUMBER})_s(?P<soft>{_NUMBER})")
_MODES = sorted((mode for mode in REWARD_MODES if mode != "hard_plus_soft"), key=len, reverse=True)
_REWARD = re.compile(rf"(?:{_WEIGHTS.pattern}|_(?:{'|'.join(_MODES)}))(?=_|$)")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_EQUAL = ("1.0", "1.0")  # the weights that need no suffix


def checked_name(name: str) -> str:
    """The name of an experiment, if it can be part of a folder's name on any machine."""
    if _NAME.fullmatch(name) is None:
        raise UserError(
            f"the name {brief(name)} cannot be part of a folder's name; take up to 64 letters, digits, dots, "
            "hyphens and underscores, a letter or digit first (--name, RUN_NAME)."
        )
    return name


def split(text: str) -> tuple[str, str | None]:
    """(the reward's part, the experiment's name) of what follows ``v3_<sampler>_<model>``; either may be missing.

    A mode is read before a name: ``_legacy`` is the reward, ``_legacy_kl012`` the reward and a name.
    """
    found = _REWARD.match(text)
    reward = found[0] if found is not None else ""
    return reward, text[len(reward) + 1 :] or None


def weights(text: str) -> tuple[float, float] | None:
    """(hard, soft) of a reward's part; None if it is a mode's."""
    found = texts(text)
    return None if found is None else (float(found[0]), float(found[1]))


def texts(part: str) -> tuple[str, str] | None:
    """(hard, soft) as typed, of a reward's part; None if it is a mode's."""
    if not part:
        return _EQUAL
    found = _WEIGHTS.fullmatch(part)
    return None if found is None else (found["hard"], found["soft"])


def means(part: str, reward: RewardConfig) -> bool:
    """Whether the reward's part of a folder's name is one of ``reward``, in whatever text."""
    if reward.mode != "hard_plus_soft":
        return part == suffix(reward)
    return weights(part) == (reward.hard_weight, reward.soft_weight)


def reward_of(part: str) -> RewardSettings:
    """The settings that a part of a folder's name stands for; what is not in it is as by default."""
    if not part:
        return RewardSettings()
    if (found := weights(part)) is None:
        return RewardSettings.model_validate({"mode": part.removeprefix("_")})
    return RewardSettings(hard_weight=found[0], soft_weight=found[1])


def of_typed(hard: str, soft: str) -> str | None:
    """The reward's part by the weights' texts, as train_v3.sh writes it; None for texts that are no plain
    numbers."""
    text = "" if (hard, soft) == _EQUAL else f"_h{hard}_s{soft}"
    return text if len(text) <= _LONGEST_REWARD and weights(text) is not None else None


def reward_part(reward: RewardConfig, typed: str | None, name: str | None, prefix: Path) -> str:
    """The reward's part of the folder's name. ``prefix``: the folder's path up to the model.

    The typed text if it is the reward's and its folder is there, else a folder of the same weights, else the text.
    """
    usual = suffix(reward)
    if reward.mode != "hard_plus_soft":
        return usual
    fits = typed is not None and len(typed) <= _LONGEST_REWARD and means(typed, reward)
    wished = typed if typed is not None and fits else usual
    there = [part for part in _on_disk(prefix, name) if means(part, reward)]
    for part in (wished, usual):
        if part in there:
            return part
    return min(there, default=wished)


def _on_disk(prefix: Path, name: str | None) -> Iterable[str]:
    """The reward's parts of the folders with artifacts that belong to the experiment ``name``."""
    if not prefix.parent.is_dir():
        return
    for folder in prefix.parent.iterdir():
        if folder.name.startswith(prefix.name):
            part, other = split(folder.name.removeprefix(prefix.name))
            if other == name and any(folder.glob(f"*{MANIFEST}")):
                yield part


def require_own(prefix: str, reward: str, name: str, others: Iterable[str]) -> None:
    """Raise ``UserError`` if a folder ``prefix + reward + _name`` could be another experiment's: that of a reward
    mode, or of a model whose name begins alike. ``others``: the prefixes of the catalog's other models."""
    text = f"{reward}_{name}".lower()  # some file systems do not tell upper case from lower
    if split(text) != (reward.lower(), name.lower()):
        raise UserError(
            f"the name {name!r} would make the folder {prefix}{reward}_{name}, which is another reward's; take "
            "another name."
        )
    folder = f"{prefix}{text}".lower()
    for other in others:
        if folder == other.lower() or folder.startswith(f"{other.lower()}_"):
            raise UserError(
                f"the name {name!r} would make the folder {prefix}{reward}_{name}, which is that of the model "
                f"{other.removeprefix(prefix[: prefix.index('_', 3) + 1])}; take another name."
            )
