"""What each artifact should be made from, given its inputs as they are now: one function per step of the table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icd_assets.errors import MissingInput, UserError
from icd_assets.experiment.recipes import one_shot, own_rl_rows, recipe_of, stages
from icd_assets.experiment.v2_source import importable_v2
from icd_assets.pools.config import SAMPLERS, PoolConfig
from icd_assets.scoring.rewards import needs_gt_prob
from icd_assets.store.manifest import Input, Manifest

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
    config = e.config("beam_data")
    # Manifests name the whole pool None, as they did when it was the default.
    return {**config.model_dump(), "expand": config.expand or None, **_vlm(e)}, inputs


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
    """Cells of all recipes share them: what was made of the same encoder under its other name is up to date."""
    config, there = e.config("embeddings").model_dump(), e.manifest("embeddings")
    inputs = {"dataset": e.data.digest("train")}
    if recipe_of(e) == "beams":
        inside = encoder_inside(e)
        if there is not None and there.facts.get("encoder_digest") == inside.data_version:
            inputs |= {name: there.spec.inputs[name] for name in ("encoder",) if name in there.spec.inputs}
        return config, inputs if "encoder" in inputs else {"v2_checkpoint.encoder": inside, **inputs}
    encoder = e.weights_of(e.encoder(e.dataset.encoder))
    if there is not None and _is_of(e, there, encoder):
        return config, {"v2_checkpoint.encoder": there.spec.inputs["v2_checkpoint.encoder"], **inputs}
    return config, {"encoder": encoder, **inputs}


def _is_of(e: Experiment, embeddings: Manifest, encoder: Input) -> bool:
    """Whether embeddings of an encoder inside a v2 checkpoint are those of the catalog's, which trained it."""
    given = embeddings.spec.inputs.get("v2_checkpoint.encoder")
    if given is None or given.manifest is None:
        return False
    v2 = e.store.read(e.store.root / given.manifest)
    return (
        v2 is not None
        and v2.origin == "made"
        and v2.facts.get("encoder_digest") == given.data_version
        and v2.spec.digests.get("encoder") == encoder.data_version
    )


def encoder_inside(e: Experiment) -> Input:
    """Only the encoder inside the v2 checkpoint matters, so cells with equal towers share the embeddings."""
    if (manifest := e.manifest("v2_checkpoint")) is None:
        raise MissingInput("v2_checkpoint")
    return e.as_input("v2_checkpoint", manifest, manifest.fact("encoder_digest"))


def single_labels(e: Experiment) -> Ingredients:
    return {**e.config("single_labels").model_dump(), **_vlm(e), **_judging(e, e.config("single_labels").label)}, {
        "candidate_pools": e.input("candidate_pools"),
        "dataset": e.data.digest("train"),
        "vlm": e.vlm(),
    }


def singles_selector(e: Experiment) -> Ingredients:
    return _of_labels(e, "singles_selector", "single_labels")


def step_labels(e: Experiment) -> Ingredients:
    parents = ("candidate_pools", "single_labels", "singles_selector", "embeddings")
    inputs = {parent: e.input(parent) for parent in parents}
    label = label_of(e)
    return {**e.config("step_labels").model_dump(), "label": label, **_vlm(e), **_judging(e, label)}, {
        **inputs,
        "dataset": e.data.digest("train"),
        "vlm": e.vlm(),
    }


def label_of(e: Experiment) -> str:
    """What the labels of singles measure, which those of sequences follow."""
    return str(e.store.require(e.manifest_path("single_labels"), "single_labels").spec.config["label"])


def _judging(e: Experiment, label: str) -> dict[str, Any]:
    """What decides the labels besides the VLM: for answers, how they are generated and judged."""
    return {} if label == "likelihood" else {**e.task.rl_config, "generation": e.model.generation.model_dump()}


def sequence_selector(e: Experiment) -> Ingredients:
    return _of_labels(e, "sequence_selector", "single_labels", "step_labels")


def rl_queries(e: Experiment) -> Ingredients:
    return {
        **e.config("rl_queries").model_dump(),
        "pools": {**_pools_as_made(e).model_dump(), "sampler": e.cell.sampler},
    }, {
        "candidate_pools": e.input("candidate_pools"),
        "dataset": e.data.digest("train"),
        **_sampler_encoder(e),
    }


def rl_selector(e: Experiment) -> Ingredients:
    config, inputs = _of_labels(e, "rl_selector", *_labels(e), before(e), "rl_data")
    return {**config, "reward": e.reward.model_dump()}, inputs


def _labels(e: Experiment) -> tuple[str, ...]:
    """The labels that a cell has."""
    return ("single_labels",) if one_shot(e) else ("single_labels", "step_labels")


def before(e: Experiment) -> str:
    """The selector that RL starts from."""
    return "singles_selector" if one_shot(e) else "sequence_selector"


def _of_labels(e: Experiment, asset: str, *parents: str) -> Ingredients:
    every = ("candidate_pools", *parents, "embeddings")
    return e.config(asset).model_dump(), {parent: e.input(parent) for parent in every}


def rl_data(e: Experiment) -> Ingredients:
    config = e.config("rl_data")
    if config.path is not None:
        path = Path(config.path)
        if not path.is_file():
            raise UserError(f"RL_DATA_PATH={path} does not exist; fix or unset it.")
        return {"path": str(path.absolute())}, {"file": Input(data_version=e.store.digests.file(path))}
    if config.gt_prob:
        e.task.require_gt_prob()
    proposing = "v2_checkpoint" if recipe_of(e) == "beams" else before(e)
    rows = "rl_queries" if own_rl_rows(e) else "candidate_pools"
    again = config.rounds > 1  # a selector is trained between two rounds, on labels and rewards
    if again and recipe_of(e) == "beams":
        raise UserError("rl_data.rounds is more than 1, and only the recipe rl trains between them; set it to 1.")
    relearned = ("candidate_pools", *_labels(e)) if again else ()
    retraining = {"reward": e.reward.model_dump(), "architecture": e.settings.shared.architecture} if again else {}
    return {
        **retraining,
        **_but_defaults(config.model_dump(exclude={"path"}), rounds=1, prefix_rewards=False, answers=None),
        "gt_prob": scores_gold_answers(e),
        **e.task.rl_config,
        "generation": e.model.generation.model_dump(),
        **_vlm(e),
    }, {
        **{name: e.input(name) for name in dict.fromkeys((rows, proposing, *relearned, "embeddings"))},
        "dataset": e.data.digest("train"),
        "vlm": e.vlm(),
    }


def _but_defaults(config: dict[str, Any], **defaults: Any) -> dict[str, Any]:
    """Without newer settings at their default: what was made before there were any stays up to date."""
    return {name: value for name, value in config.items() if name not in defaults or value != defaults[name]}


def scores_gold_answers(e: Experiment) -> bool:
    """Whether RL data need ``vqa_gt_prob``: a setting or the reward asks for it."""
    return e.config("rl_data").gt_prob or needs_gt_prob(e.reward)


def rce_checkpoints(e: Experiment) -> Ingredients:
    return _training(e, "rce_checkpoints", "rl_data", "v2_checkpoint", "embeddings")


def grpo_checkpoints(e: Experiment) -> Ingredients:
    return _training(e, "grpo_checkpoints", "rce_checkpoints", "rl_data", "v2_checkpoint", "embeddings")


def _training(e: Experiment, asset: str, *parents: str) -> Ingredients:
    config = _but_defaults(e.config(asset).model_dump(), topk_ties="first") | {"reward": e.reward.model_dump()}
    return config, {parent: e.input(parent) for parent in parents}


def v2format_checkpoint(e: Experiment) -> Ingredients:
    if own := stages(e):
        return {"stage": own[-1]}, {own[-1]: e.input(own[-1])}
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
    inputs = {parent: e.input(parent) for parent in ("candidate_pools", *_evaluated(e))}
    if recipe_of(e) != "beams":
        inputs["encoder"] = e.weights_of(e.encoder(e.dataset.encoder))
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


def _evaluated(e: Experiment) -> Sequence[str]:
    """The assets whose selectors the table compares; the last is recommended."""
    if own := stages(e):
        return own
    grpo = ["grpo_checkpoints"] if e.fact("v2format_checkpoint", "phase") == "grpo" else []
    return ["v2_checkpoint", "rce_checkpoints", "v2format_checkpoint", *grpo]


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
