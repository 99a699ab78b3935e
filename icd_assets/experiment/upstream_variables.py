"""Variables that Lever-Plus' scripts read and that have no effect here (SPEC B.1): each that is set is named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

_V4 = "v4 selectors are not read"
# Those that have an effect are in icd_assets.experiment.settings, and SPEC B.1 has those of the datasets.
WITHOUT_EFFECT: dict[str, str] = {
    "BATCH_SIZE_OVERRIDE": "prompts are scored as many at once as fit",
    "DISABLE_STOP": "selectors have no STOP: each picks as many demonstrations as it is asked for",
    "LEVER_LM_ATTENTION_TYPE": _V4,
    "LEVER_LM_CHECKPOINT_VERSION": "a file's own tensors say what it is",
    "LEVER_LM_DPP_RANK": _V4,
    "LEVER_LM_MODEL_TYPE": _V4,
    "LEVER_LM_NUM_SLOT_LAYERS": _V4,
    "LEVER_LM_NUM_TOPICS": _V4,
    "LEVER_LM_REFINE_TYPE": _V4,
    "LEVER_LM_TOP_M": _V4,
    "RESUME_CKPT_PATH": "an interrupted training goes on by itself",
    "TEST_SAMPLE_NUM": "anchors are counted by sample_num in the catalog, validation questions by TEST_DATA_NUM",
}


def without_effect(environment: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each that is set, in the order of their names."""
    for name, why in WITHOUT_EFFECT.items():
        if environment.get(name):
            yield f"{name} is a variable of Lever-Plus' that has no effect here: {why}."
