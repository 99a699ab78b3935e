"""Environment variables that are nearly ours: a setting under a misspelt name would be ignored without a word.

Other tools' variables must not be taken for ours. A name counts as misspelt

1. if it is one of ours but for underscores, dashes and case: ``HARDWEIGHT``, ``rce_epochs``;
2. if it begins as only ours do (``RCE_``, ``ICD_``): whatever follows, nobody else reads it;
3. if each of its words is near one of ours in that place (``GRPO_EPOCH``, ``RESULTS_DIR``), and its value would be
   valid there: ``REWARD_MODEL=legacy`` is a slip, ``REWARD_MODEL=some/model`` is another tool's.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from itertools import zip_longest

from icd_assets.errors import UserError
from icd_assets.experiment.settings import environment_fields, read_settings
from icd_assets.experiment.upstream_variables import WITHOUT_EFFECT, without_effect
from icd_assets.runtime.small_file import read_small_text
from icd_assets.runtime.user_path import expanded
from icd_assets.runtime.yaml_file import LARGEST

# Read outside the settings and the catalog's entries.
PLACES = (
    *("DAGSTER_HOME", "ICD_ANSWERS", "ICD_CATALOG", "ICD_EXECUTOR", "ICD_EXECUTOR_CONFIG", "ICD_LEAVE_OUT"),
    *("ICD_LOCK_DIR", "ICD_OWNERS", "ICD_SERVE_TOKEN", "ICD_THREADS", "ICD_UI_BEHIND_PROXY"),
    *("ICD_UI_HOSTS", "ICD_UI_TOKEN", "ICD_WORKERS", "RESULT_DIR"),
)
_OURS_ALONE = ("RCE_", "ICD_", "LEVER_LM_")
_IN_CATALOG = re.compile(r"\$\{([A-Z]\w*)")
_NEAR = 0.75  # of a word: EPOCH and EPOCHS are, GPRO and GRPO; PPO and GRPO are not


def misspelt(environment: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each variable that is nearly one of ours, and for each of Lever-Plus' without effect."""
    yield from without_effect(environment)
    known = known_variables(environment)
    for name in sorted({one for one, value in environment.items() if value} - known - WITHOUT_EFFECT.keys()):
        if (meant := _meant(name, environment[name], known)) is not None:
            hint = f"did you mean {meant}?" if meant else "`icd-assets settings` lists all."
            yield f"{name} is set, but is no setting; {hint}"


def known_variables(environment: Mapping[str, str]) -> set[str]:
    """All names that this project reads: settings, places, and what the catalogs' paths are made of."""
    from icd_assets.experiment.catalog import CATALOG

    names = {*PLACES, *environment_fields()}
    overlay = environment.get("ICD_CATALOG")
    for path in (str(CATALOG), *([overlay] if overlay else [])):
        try:
            names |= set(_IN_CATALOG.findall(read_small_text(expanded(path), LARGEST)))
        except (OSError, UnicodeDecodeError, UserError):  # who opens the catalog says so
            continue
    return names


def _meant(name: str, value: str, known: set[str]) -> str | None:
    """The variable that was meant; empty if it is not clear which; None if the name is not misspelt."""
    plain = _plain(name)
    for one in sorted(known):
        if _plain(one) == plain:
            return one
    if name.startswith(_OURS_ALONE):
        near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)
        return near[0] if near else ""
    close = [one for one in sorted(known) if _word_by_word(name, one) and _valid(one, value)]
    return max(close, key=lambda one: difflib.SequenceMatcher(None, name, one).ratio(), default=None)


def _plain(name: str) -> str:
    return re.sub(r"[_\-.]", "", name).upper()


def _word_by_word(name: str, ours: str) -> bool:
    pairs = list(zip_longest(name.upper().split("_"), ours.split("_"), fillvalue=""))
    return len(pairs) > 1 and all(
        one == other or (one[:1] == other[:1] and (_near(one, other) or _swapped(one, other)))
        for one, other in pairs
    )


def _near(one: str, other: str) -> bool:
    return difflib.SequenceMatcher(None, one, other).ratio() >= _NEAR


def _swapped(one: str, other: str) -> bool:
    """The same letters, two neighbors the other way round: in a short word the likeness is small."""
    differing = [at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b]
    return sorted(one) == sorted(other) and len(differing) == 2 and differing[1] == differing[0] + 1


def _valid(variable: str, value: str) -> bool:
    """Whether the value could be meant for a setting; a place takes any path."""
    if variable not in environment_fields():
        try:
            return os.sep in value or expanded(value).exists()
        except (OSError, UserError):
            return False
    try:
        read_settings(environment={variable: value})
    except UserError:
        return False
    return True
