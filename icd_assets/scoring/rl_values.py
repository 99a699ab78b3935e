"""Values of an RL data file as the schema has them: others write ``true`` for 1, numbers as texts, and NaN."""

from __future__ import annotations

import math
from typing import Any, Literal

Kind = Literal["whole", "number", "truth", "text"]
# The fields of a pointer that other tools write in another type; the rest is taken as it is.
KINDS: dict[str, Kind] = {
    **dict.fromkeys(("vqa_correct", "beam_rank", "round"), "whole"),
    **dict.fromkeys(("behavior_logprob", "beam_score", "logprob_score", "temperature"), "number"),
    **dict.fromkeys(("similarity_score", "vqa_acc_score", "vqa_gt_prob"), "number"),
    **dict.fromkeys(("vqa_rel_token_f1", "vqa_rel_edit_sim", "vqa_rel_score"), "number"),
    **dict.fromkeys(("vqa_raw_generation", "vqa_pred_answer", "eval_split_used"), "text"),
    "eval_failed": "truth",
}


_LARGEST = 3e38


def as_kind(value: Any, kind: Kind) -> Any:
    """``value`` in the type of ``kind`` if it means the same there; else as it is, for the schema to judge.

    >>> as_kind(True, "whole"), as_kind("0.3", "number"), as_kind(1.0, "whole"), as_kind(0.5, "whole")
    (1, 0.3, 1, 0.5)
    """
    if kind == "text":
        return str(value) if type(value) in (int, float) and is_finite(value) else value
    if isinstance(value, str):
        value = _of_text(value)
    if kind == "truth":
        return bool(value) if type(value) in (int, float) and value in (0, 1) else value
    if isinstance(value, bool):
        return int(value) if kind == "whole" else float(value)
    if kind == "whole" and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _of_text(text: str) -> Any:
    """The number or the truth value that a text spells; the text itself if it spells none."""
    word = text.strip()
    if word.lower() in ("true", "false"):
        return word.lower() == "true"
    if len(word) > 40 or "_" in word or not word.isascii():
        return text
    try:
        return int(word)
    except ValueError:
        pass
    try:
        return float(word)
    except ValueError:
        return text


def is_finite(value: Any) -> bool:
    """False for NaN and the infinities, which a number beyond those of 32 bits becomes in training."""
    return not isinstance(value, float) or (math.isfinite(value) and abs(value) <= _LARGEST)


def finite(value: Any) -> Any:
    """JSON with null for every number that is not finite."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [finite(inner) for inner in value]
    return value if is_finite(value) else None
