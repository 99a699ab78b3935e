"""The pipeline as one table: its steps in order. Assets, plans, settings and documentation are built from it."""

from __future__ import annotations

from pydantic import BaseModel

from icd_assets.evaluation.config import EvaluationConfig
from icd_assets.experiment import made_from
from icd_assets.experiment.step import Step, always
from icd_assets.experiment.step_configs import ConvertConfig, EmbeddingConfig, RlDataConfig, Shared, V2Config
from icd_assets.experiment.v2_source import has_own_v2
from icd_assets.pools.config import PoolConfig
from icd_assets.scoring.infoscore import BeamConfig
from icd_assets.scoring.rewards import RewardSettings
from icd_assets.selector.config import GrpoConfig, RceConfig
from icd_assets.store.names import manifest_beside, manifest_in

STEPS = (
    Step(
        name="candidate_pools",
        title="pools",
        parents=(),
        config=PoolConfig,
        code_version="2",
        kind="json",
        description="Anchor queries of the train split and, per anchor, the K candidates that the sampler offers.",
        made_from=made_from.candidate_pools,
        place=lambda paths: manifest_beside(paths.train_pools),
    ),
    Step(
        name="beam_data",
        title="beams",
        parents=("candidate_pools",),
        config=BeamConfig,
        code_version="1",
        kind="json",
        description="Per anchor, the demonstration sequences that raise the likelihood of the true answer most "
        "(InfoScore).",
        made_from=made_from.beam_data,
        place=lambda paths: manifest_beside(paths.beam_data),
        gpu=True,
        catalog_fields=frozenset({"expand"}),
        asks_vlm=always,
        scores_answers=always,
        left_out=has_own_v2,
        left_out_because="only the training of a v2 checkpoint reads them, and this cell's is your own",
        on_request=True,
    ),
    Step(
        name="v2_checkpoint",
        title="v2",
        parents=("candidate_pools", "beam_data"),
        config=V2Config,
        code_version="1",
        kind="pytorch",
        description="The supervised (SFT) pointer selector: the user's own checkpoint, or one trained from beam "
        "data.",
        made_from=made_from.v2_checkpoint,
        place=lambda paths: manifest_beside(paths.v2_checkpoint),
        gpu=True,
        catalog_fields=frozenset({"hidden_dim", "epochs", "lr", "batch_size", "dropout", "weight_decay"}),
        replaces_adopted=lambda e: (
            e.config("v2_checkpoint").source == "train" or e.config("v2_checkpoint").checkpoint is not None
        ),
    ),
    Step(
        name="embeddings",
        title="embed",
        parents=("v2_checkpoint",),
        config=EmbeddingConfig,
        code_version="1",
        kind="pytorch",
        description="The v2 checkpoint's image+question embedding of every train row.",
        made_from=made_from.embeddings,
        place=lambda paths: manifest_beside(paths.query_embeddings),
        gpu=True,
    ),
    Step(
        name="rl_data",
        title="RL data",
        parents=("candidate_pools", "v2_checkpoint", "embeddings"),
        config=RlDataConfig,
        code_version="1",
        kind="json",
        description="Per anchor, some fifteen pointers, the VLM's answer to each, its accuracy and the parts of "
        "its reward.",
        made_from=made_from.rl_data,
        place=lambda paths: manifest_beside(paths.rl_data),
        gpu=True,
        asks_vlm=lambda e: e.config("rl_data").path is None,  # not for RL data that are the user's own
        scores_answers=made_from.scores_gold_answers,
        replaces_adopted=lambda e: e.config("rl_data").path is not None,
    ),
    Step(
        name="rce_checkpoints",
        title="RCE",
        parents=("rl_data", "v2_checkpoint", "embeddings"),
        config=RceConfig,
        code_version="1",
        kind="pytorch",
        description="Reward-weighted cross-entropy warm-up: one checkpoint per epoch.",
        made_from=made_from.rce_checkpoints,
        place=lambda paths: manifest_in(paths.v3_folder, "rce_checkpoints"),
        gpu=True,
    ),
    Step(
        name="grpo_checkpoints",
        title="GRPO",
        parents=("rce_checkpoints", "rl_data", "v2_checkpoint", "embeddings"),
        config=GrpoConfig,
        code_version="1",
        kind="pytorch",
        description="Group-relative policy optimization from the last RCE epoch: one checkpoint per epoch.",
        made_from=made_from.grpo_checkpoints,
        place=lambda paths: manifest_in(paths.v3_folder, "grpo_checkpoints"),
        gpu=True,
        left_out=lambda e: e.config("grpo_checkpoints").grpo_epochs == 0,  # SPEC K.6: the default recipe
        left_out_because="the settings have no GRPO epochs (GRPO_EPOCHS=0)",
    ),
    Step(
        name="v2format_checkpoint",
        title="v2format",
        parents=("rce_checkpoints", "grpo_checkpoints"),
        config=ConvertConfig,
        code_version="1",
        kind="pytorch",
        description="The recommended epoch in the form that Lever-Plus' inference loads, verified by reading it "
        "back.",
        made_from=made_from.v2format_checkpoint,
        place=lambda paths: manifest_in(paths.v3_folder, "v2format_checkpoint"),
    ),
    Step(
        name="evaluation",
        title="evaluated",
        parents=(
            "candidate_pools",
            "v2_checkpoint",
            "embeddings",
            "rce_checkpoints",
            "grpo_checkpoints",
            "v2format_checkpoint",
        ),
        config=EvaluationConfig,
        code_version="4",
        kind="table",
        description="VQA accuracy, or CIDEr of captions, on the validation split: trained selectors, baselines "
        "and the best in the pool.",
        made_from=made_from.evaluation,
        place=lambda paths: manifest_in(paths.evaluation, "evaluation"),
        gpu=True,
        catalog_fields=frozenset({"num_queries", "oracle_beams", "oracle_expand"}),
        asks_vlm=always,
        scores_answers=lambda e: bool(e.config("evaluation").oracle_beams),
    ),
)
STEP = {step.name: step for step in STEPS}


def shared_fields(model: type[BaseModel]) -> list[str]:
    """The shared settings that a step's config takes."""
    return [name for name in Shared.model_fields if name in model.model_fields]


def own_fields(step: Step) -> list[str]:
    """The settings that are the step's own."""
    return [name for name in step.config.model_fields if name not in Shared.model_fields]


def sections() -> dict[str, type[BaseModel]]:
    """Every group of settings: the two that a cell shares, and one per step."""
    found: dict[str, type[BaseModel]] = {"shared": Shared, "reward": RewardSettings}
    return found | {step.name: step.config for step in STEPS}
