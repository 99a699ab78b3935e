"""What each artifact should be made from, given its inputs as they are now: one function per step of the table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from icd_assets.errors import MissingInput, UserError
from icd_assets.experiment.v2_source import importable_v2
from icd_assets.pools.config import SAMPLERS, PoolConfig
from icd_assets.scoring.rewards import needs_gt_prob
from icd_assets.store.manifest import Input

if TYPE_CHECKING:
    from icd_assets.experiment.experiment import Experiment
    from icd_assets.experiment.step import Ingredients


def candidate_pools(e: Experiment) -> Ingredients:
    return {
        **e.config("candidate_pools").model_dump(),
        "sampler": e.cell.sampler,
        "sample_num": e.dataset.sample_num,
    }, {"dataset": e.data.digest("train"), **_sampler_encoder(e)}


def beam_data(e: Experiment) -> Ingredients:
    inputs = {
        "candidate_pools": e.input("candidate_pools"),
        "dataset": e.data.digest("train"),
        "vlm": e.vlm(),
    }
    return {**e.config("beam_data").model_dump(), **_vlm(e)}, inputs


def v2_checkpoint(e: Experiment) -> Ingredients:
    config, encoder = e.config("v2_checkpoint"), e.weights_of(e.encoder(e.dataset.encoder))
    if (path := importable_v2(e)) is not None:
        return {"source": "import"}, {"file": Input(data_version=e.store.digests.file(path)), "encoder": encoder}
    return config.model_dump(exclude={"source", "checkpoint"}) | {"source": "train"}, {
        "candidate_pools": e.input("candidate_pools"),
        "beam_data": e.input("beam_data"),
        "dataset": e.data.digest("train"),
        "encoder": encoder,
    }


def embeddings(e: Experiment) -> Ingredients:
    return e.config("embeddings").model_dump(), {
        "v2_checkpoint.encoder": encoder_inside(e),
        "dataset": e.data.digest("train"),
    }


def encoder_inside(e: Experiment) -> Input:
    """Only the encoder inside the v2 checkpoint matters, so cells with equal towers share the embeddings."""
    if (manifest := e.manifest("v2_checkpoint")) is None:
        raise MissingInput("v2_checkpoint")
    return e.as_input("v2_checkpoint", manifest, manifest.fact("encoder_digest"))


def rl_data(e: Experiment) -> Ingredients:
    config = e.config("rl_data")
    if config.path is not None:
        path = Path(config.path)
        if not path.is_file():
            raise UserError(f"RL_DATA_PATH={path} does not exist; fix or unset it.")
        return {"path": str(path.absolute())}, {"file": Input(data_version=e.store.digests.file(path))}
    if config.gt_prob:
        e.task.require_gt_prob()
    return {
        **config.model_dump(exclude={"path"}),
        "gt_prob": scores_gold_answers(e),
        **e.task.rl_config,
        "generation": e.model.generation.model_dump(),
        **_vlm(e),
    }, {
        "candidate_pools": e.input("candidate_pools"),
        "v2_checkpoint": e.input("v2_checkpoint"),
        "embeddings": e.input("embeddings"),
        "dataset": e.data.digest("train"),
        "vlm": e.vlm(),
    }


def scores_gold_answers(e: Experiment) -> bool:
    """Whether RL data need ``vqa_gt_prob``: a setting or the reward asks for it."""
    return e.config("rl_data").gt_prob or needs_gt_prob(e.reward)


def rce_checkpoints(e: Experiment) -> Ingredients:
    return _training(e, "rce_checkpoints", "rl_data", "v2_checkpoint", "embeddings")


def grpo_checkpoints(e: Experiment) -> Ingredients:
    return _training(e, "grpo_checkpoints", "rce_checkpoints", "rl_data", "v2_checkpoint", "embeddings")


def _training(e: Experiment, asset: str, *parents: str) -> Ingredients:
    config = {**e.config(asset).model_dump(), "reward": e.reward.model_dump()}
    if config.get("topk_ties") == "first":
        del config["topk_ties"]  # what was trained before there was a choice stays up to date
    return config, {parent: e.input(parent) for parent in parents}


def v2format_checkpoint(e: Experiment) -> Ingredients:
    phase = phase_to_convert(e)
    config = {"phase": phase, "epoch": e.config("v2format_checkpoint").epoch}
    # GRPO that is not recommended but lies there is converted too. No input: nobody learned from it.
    if phase == "rce" and (grpo := e.manifest("grpo_checkpoints")) is not None:
        config["grpo_beside"] = grpo.data_version
    return config, {f"{phase}_checkpoints": e.input(f"{phase}_checkpoints")}


def phase_to_convert(e: Experiment) -> str:
    """``rce`` or ``grpo``: what becomes the v2-format checkpoint."""
    source = e.config("v2format_checkpoint").source
    if source != "auto":
        return str(source)
    return "grpo" if trained_on_todays_rce(e) else "rce"


def trained_on_todays_rce(e: Experiment) -> bool:
    """Whether the GRPO checkpoints on disk come from the RCE checkpoints on disk."""
    grpo, rce = e.manifest("grpo_checkpoints"), e.manifest("rce_checkpoints")
    return grpo is not None and rce is not None and grpo.spec.digests.get("rce_checkpoints") == rce.data_version


def evaluation(e: Experiment) -> Ingredients:
    parents = ["candidate_pools", "v2_checkpoint", "rce_checkpoints", "v2format_checkpoint"]
    inputs = {parent: e.input(parent) for parent in parents}
    if e.fact("v2format_checkpoint", "phase") == "grpo":
        inputs["grpo_checkpoints"] = e.input("grpo_checkpoints")
    inputs |= {"dataset": e.data.digest("train", "validation"), "vlm": e.vlm()}
    config = e.config("evaluation").model_dump()
    if config["library_candidates"] or "vote_k" in config["baselines"]:  # they look at the whole train split
        inputs["embeddings"] = e.input("embeddings")
    if config["subset"]:
        inputs["subset"] = Input(data_version=e.store.digests.file(e.data.subset_path()))
    else:
        del config["subset"]  # what was made before there was a subset stays up to date without one
    return {
        **config,
        "pools": {**_pools_as_made(e).model_dump(), "sampler": e.cell.sampler},
        "generation": e.model.generation.model_dump(),
        **_vlm(e),
    }, {**inputs, **_sampler_encoder(e)}


def _pools_as_made(e: Experiment) -> PoolConfig:
    """The config that the train pools were made with, for a query of another split."""
    manifest = e.store.require(e.manifest_path("candidate_pools"), "candidate_pools")
    known = {name: value for name, value in manifest.spec.config.items() if name in PoolConfig.model_fields}
    shared = e.settings.shared
    return PoolConfig(**known | {"pool_size": shared.pool_size, "seed": shared.seed})


def _sampler_encoder(e: Experiment) -> dict[str, Input]:
    """What a similarity sampler compares with."""
    if not SAMPLERS[e.cell.sampler].needs_features:
        return {}
    return {"sampler_encoder": e.weights_of(e.encoder(e.dataset.sampler_encoder))}


def _vlm(e: Experiment) -> dict[str, Any]:
    """How the VLM is asked; part of the config of everything it answers."""
    return {"vlm": e.model.backend.settings(e.model.prompt)}
