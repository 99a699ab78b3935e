"""The spec of an artifact: what it should be made from today, in the form that its manifest keeps."""

from __future__ import annotations

import json
from collections.abc import Callable

from icd_assets.experiment import made_from
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.steps import STEP
from icd_assets.store.manifest import Input, Spec


def spec_of(experiment: Experiment, asset: str, *, afresh: bool = False) -> Spec:
    """What ``asset`` should be made from. An adopted artifact stays up to date as long as what is known of its
    inputs is still so, unless another file is asked for; ``afresh``: what a new one would be made from.

    Raises :class:`MissingInput` if an input is not there, :class:`UserError` for the user's own files.
    """
    step, there = STEP[asset], experiment.manifest(asset)
    if not afresh and there is not None and there.origin == "adopted" and not step.replaces_adopted(experiment):
        now = {name: _KNOWN[name](experiment) for name in there.spec.inputs}
        return there.spec.model_copy(update={"inputs": now})
    config, inputs = step.made_from(experiment)
    plain = json.loads(json.dumps(config))
    return Spec(asset=asset, code_version=step.code_version, config=plain, inputs=inputs)


# Inputs that adoption can know of: those that it checked the files against.
_KNOWN: dict[str, Callable[[Experiment], Input]] = {
    "dataset": lambda e: e.data.digest("train"),
    "encoder": lambda e: e.weights_of(e.encoder(e.dataset.encoder)),
    "v2_checkpoint.encoder": made_from.encoder_inside,
    "rce_checkpoints": lambda e: e.input("rce_checkpoints"),
}
