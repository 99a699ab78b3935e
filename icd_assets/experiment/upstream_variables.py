"""Variables that Lever-Plus' scripts read and that have no effect here: whoever sets one is told so."""

from __future__ import annotations

from collections.abc import Mapping

# Those that have an effect are in icd_assets.experiment.settings, and SPEC B.1 has those of the datasets.
WITHOUT_EFFECT: dict[str, str] = {
    "LEVER_LM_CHECKPOINT_VERSION": "a file's own tensors say what it is",
    "LEVER_LM_MODEL_TYPE": "v4 selectors are not read",
    "LEVER_LM_ATTENTION_TYPE": "v4 selectors are not read",
    "LEVER_LM_DPP_RANK": "v4 selectors are not read",
    "LEVER_LM_NUM_SLOT_LAYERS": "v4 selectors are not read",
    "LEVER_LM_NUM_TOPICS": "v4 selectors are not read",
    "LEVER_LM_REFINE_TYPE": "v4 selectors are not read",
    "LEVER_LM_TOP_M": "v4 selectors are not read",
    "RESUME_CKPT_PATH": "an interrupted training goes on by itself",
    "CHECKPOINT_PATH": "Flamingo cannot be asked",
}


def without_effect(environment: Mapping[str, str]) -> str | None:
    """One line about the variables that are set in vain; None if there are none."""
    reasons = [f"{name} ({why})" for name, why in WITHOUT_EFFECT.items() if environment.get(name)]
    return f"without effect here: {', '.join(reasons)}" if reasons else None
