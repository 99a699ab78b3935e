"""What each artifact should be made of, given its inputs as they are now.

A step's spec may read its own config, the shared settings, and manifests: never at another step's config, so
that the command line, which knows all of them, and a click on one asset, which does not, come to the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from icd_assets.errors import UserError
from icd_assets.experiment.experiment import Experiment, MissingInput
from icd_assets.experiment.steps import STEP
from icd_assets.pools.config import needs_features
from icd_assets.store.manifest import Input, Spec


def spec_of(experiment: Experiment, asset: str, *, afresh: bool = False) -> Spec:
    """What ``asset`` should be made of. An adopted artifact stays up to date as long as what is known of its
    inputs is still so, unless another file is asked for; ``afresh``: what a new one would be made of.

    Raises :class:`MissingInput` if an input is not there, :class:`UserError` for the user's own files.
    """
    there = experiment.manifest(asset)
    if not afresh and there is not None and there.origin == "adopted" and not _another(experiment, asset):
        now = {name: _KNOWN[name](experiment) for name in there.spec.inputs}
        return there.spec.model_copy(update={"inputs": now})
    config, inputs = _SPECS[asset](experiment)
    plain = json.loads(json.dumps(config))
    return Spec(asset=asset, code_version=STEP[asset].code_version, config=plain, inputs=inputs)


_Made = tuple[dict[str, Any], dict[str, Input]]


def _candidate_pools(e: Experiment) -> _Made:
    return {
        **e.config("candidate_pools").model_dump(),
        "sampler": e.cell.sampler,
        "sample_num": e.dataset.sample_num,
    }, {"dataset": e.dataset_digest("train"), **_sampler_encoder(e)}


def _sampler_encoder(e: Experiment) -> dict[str, Input]:
    """What a similarity sampler compares with."""
    if not needs_features(e.cell.sampler):
        return {}
    return {"sampler_encoder": e.weights_of(e.encoder(e.dataset.sampler_encoder))}


def _vlm(e: Experiment) -> dict[str, Any]:
    """How the VLM is asked; part of the config of everything it answers."""
    if e.model.endpoint is not None:
        return {"vlm": {"prompt": e.model.prompt.model_dump(), "endpoint": e.model.endpoint.identity}}
    keys = {"prompt", "dtype", "min_pixels", "max_pixels", "batch_size"}
    return {"vlm": e.model.model_dump(include=keys)}


def _beam_data(e: Experiment) -> _Made:
    inputs = {
        "candidate_pools": e.input("candidate_pools"),
        "dataset": e.dataset_digest("train"),
        "vlm": e.vlm(),
    }
    return {**e.config("beam_data").model_dump(), **_vlm(e)}, inputs


def _v2_checkpoint(e: Experiment) -> _Made:
    config, encoder = e.config("v2_checkpoint"), e.weights_of(e.encoder(e.dataset.encoder))
    if (path := e.importable_v2()) is not None:
        return {"source": "import"}, {"file": Input(data_version=e.store.digests.file(path)), "encoder": encoder}
    return config.model_dump(exclude={"source", "checkpoint"}) | {"source": "train"}, {
        "candidate_pools": e.input("candidate_pools"),
        "beam_data": e.input("beam_data"),
        "dataset": e.dataset_digest("train"),
        "encoder": encoder,
    }


def _embeddings(e: Experiment) -> _Made:
    return e.config("embeddings").model_dump(), {
        "v2_checkpoint.encoder": _towers(e),
        "dataset": e.dataset_digest("train"),
    }


def _towers(e: Experiment) -> Input:
    """Only the encoder inside the v2 checkpoint matters, so cells with equal towers share the embeddings."""
    if (manifest := e.manifest("v2_checkpoint")) is None:
        raise MissingInput("v2_checkpoint")
    return e.as_input("v2_checkpoint", manifest, manifest.facts["encoder_digest"])


def _rl_data(e: Experiment) -> _Made:
    config = e.config("rl_data")
    if config.path is not None:
        path = Path(config.path)
        if not path.is_file():
            raise UserError(f"RL_DATA_PATH={path} does not exist; fix or unset it.")
        return {"path": str(path.absolute())}, {"file": Input(data_version=e.store.digests.file(path))}
    caption = e.dataset.task == "caption"
    if caption and config.gt_prob:
        raise UserError("rl_data.gt_prob measures VQA answers, and captions have none; unset it.")
    return {
        **config.model_dump(exclude={"path"}),
        "gt_prob": e.scores_answers("rl_data"),
        **({"cider": {"document_frequencies": "train split"}} if caption else {}),
        "generation": e.model.generation.model_dump(),
        **_vlm(e),
    }, {
        "candidate_pools": e.input("candidate_pools"),
        "v2_checkpoint": e.input("v2_checkpoint"),
        "embeddings": e.input("embeddings"),
        "dataset": e.dataset_digest("train"),
        "vlm": e.vlm(),
    }


def _training(e: Experiment, asset: str, *parents: str) -> _Made:
    config = {**e.config(asset).model_dump(), "reward": e.reward.model_dump()}
    return config, {parent: e.input(parent) for parent in parents}


def _rce(e: Experiment) -> _Made:
    return _training(e, "rce_checkpoints", "rl_data", "v2_checkpoint", "embeddings")


def _grpo(e: Experiment) -> _Made:
    return _training(e, "grpo_checkpoints", "rce_checkpoints", "rl_data", "v2_checkpoint", "embeddings")


def _v2format(e: Experiment) -> _Made:
    phase = e.phase_to_convert()
    return {"phase": phase, "epoch": e.config("v2format_checkpoint").epoch}, {
        f"{phase}_checkpoints": e.input(f"{phase}_checkpoints")
    }


def _evaluation(e: Experiment) -> _Made:
    parents = ["candidate_pools", "v2_checkpoint", "rce_checkpoints", "v2format_checkpoint"]
    inputs = {parent: e.input(parent) for parent in parents}
    if e.facts("v2format_checkpoint")["phase"] == "grpo":
        inputs["grpo_checkpoints"] = e.input("grpo_checkpoints")
    inputs |= {"dataset": e.dataset_digest("train", "validation"), "vlm": e.vlm()}
    config = e.config("evaluation").model_dump()
    if config["subset"]:
        inputs["subset"] = Input(data_version=e.store.digests.file(e.subset_path()))
    else:
        del config["subset"]  # what was made before there was a subset is up to date without one
    return {
        **config,
        "pools": {**e.pools_as_made().model_dump(), "sampler": e.cell.sampler},
        "generation": e.model.generation.model_dump(),
        **_vlm(e),
    }, {**inputs, **_sampler_encoder(e)}


_SPECS: dict[str, Callable[[Experiment], _Made]] = {
    "candidate_pools": _candidate_pools,
    "beam_data": _beam_data,
    "v2_checkpoint": _v2_checkpoint,
    "embeddings": _embeddings,
    "rl_data": _rl_data,
    "rce_checkpoints": _rce,
    "grpo_checkpoints": _grpo,
    "v2format_checkpoint": _v2format,
    "evaluation": _evaluation,
}


# Inputs that adoption can know of: those that it checked the files against.
_KNOWN: dict[str, Callable[[Experiment], Input]] = {
    "dataset": lambda e: e.dataset_digest("train"),
    "encoder": lambda e: e.weights_of(e.encoder(e.dataset.encoder)),
    "v2_checkpoint.encoder": _towers,
    "rce_checkpoints": lambda e: e.input("rce_checkpoints"),
}


def _another(e: Experiment, asset: str) -> bool:
    """Whether the settings ask for another file than the adopted one."""
    if asset == "rl_data":
        return e.config(asset).path is not None
    if asset == "v2_checkpoint":
        return e.config(asset).source == "train" or e.config(asset).checkpoint is not None
    return False
