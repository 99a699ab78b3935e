"""The pipeline as one table: its steps in order. Assets, plans, settings and documentation are built from it."""

from __future__ import annotations

from pydantic import BaseModel

from icd_assets.evaluation.config import EvaluationConfig
from icd_assets.experiment import made_from
from icd_assets.experiment.recipes import no_v2_format, one_shot, own_rl_rows
from icd_assets.experiment.step import Step, always
from icd_assets.experiment.step_configs import (
    ConvertConfig,
    EmbeddingConfig,
    RlDataConfig,
    RlQueriesConfig,
    RlTraining,
    SequenceTraining,
    Shared,
    SingleLabelsConfig,
    StepLabelsConfig,
    V2Config,
)
from icd_assets.experiment.v2_source import beams_left_out
from icd_assets.pools.config import PoolConfig
from icd_assets.scoring.infoscore import BeamConfig
from icd_assets.scoring.rewards import RewardSettings
from icd_assets.selector.config import GrpoConfig, RceConfig, SelectorTraining
from icd_assets.store.names import manifest_beside, manifest_in

# Settings of a selector's training that fit a dataset, and so its catalog entry.
_OF_A_SELECTOR = frozenset({"hidden_dim", "aspects", "updates", "batch_size", "lr", "dropout", "weight_decay"})

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
        unneeded=beams_left_out,
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
        description="The encoder's image+question embedding of every train row: that of the v2 checkpoint, or the "
        "catalog's.",
        made_from=made_from.embeddings,
        place=lambda paths: manifest_beside(paths.query_embeddings),
        gpu=True,
    ),
    Step(
        name="single_labels",
        title="singles",
        parents=("candidate_pools",),
        config=SingleLabelsConfig,
        code_version="1",
        kind="json",
        description="Per anchor, the likelihood of the true answer with each single candidate, and with none.",
        made_from=made_from.single_labels,
        place=lambda paths: manifest_beside(paths.single_labels),
        gpu=True,
        catalog_fields=frozenset({"rows"}),
        asks_vlm=always,
        scores_answers=lambda e: e.config("single_labels").label == "likelihood",
    ),
    Step(
        name="singles_selector",
        title="by singles",
        parents=("candidate_pools", "single_labels", "embeddings"),
        config=SelectorTraining,
        code_version="1",
        kind="pytorch",
        description="The selector trained on labels of single candidates.",
        made_from=made_from.singles_selector,
        place=lambda paths: manifest_in(paths.v3_folder, "singles_selector"),
        gpu=True,
        catalog_fields=_OF_A_SELECTOR,
    ),
    Step(
        name="step_labels",
        title="steps",
        parents=("candidate_pools", "single_labels", "singles_selector", "embeddings"),
        config=StepLabelsConfig,
        code_version="1",
        kind="json",
        description="Per anchor, the same label for each candidate after picks of the selector of singles.",
        made_from=made_from.step_labels,
        place=lambda paths: manifest_beside(paths.step_labels),
        gpu=True,
        catalog_fields=frozenset({"prefixes", "rows"}),
        asks_vlm=always,
        scores_answers=lambda e: e.config("single_labels").label == "likelihood",  # which they follow
        unneeded=one_shot,
    ),
    Step(
        name="sequence_selector",
        title="by steps",
        parents=("candidate_pools", "single_labels", "step_labels", "embeddings"),
        config=SequenceTraining,
        code_version="1",
        kind="pytorch",
        description="The selector trained on the labels of singles and of sequences together.",
        made_from=made_from.sequence_selector,
        place=lambda paths: manifest_in(paths.v3_folder, "sequence_selector"),
        gpu=True,
        catalog_fields=_OF_A_SELECTOR,
        unneeded=one_shot,
    ),
    Step(
        name="rl_queries",
        title="RL rows",
        parents=("candidate_pools",),
        config=RlQueriesConfig,
        code_version="1",
        kind="json",
        description="Queries for RL that no selector was fitted to, and the candidates offered to each.",
        made_from=made_from.rl_queries,
        place=lambda paths: manifest_beside(paths.rl_queries),
        catalog_fields=frozenset({"rows", "validation_rows"}),
        unneeded=lambda e: None if own_rl_rows(e) else "RL data are of the anchors (shared.rl_rows=anchors)",
    ),
    Step(
        name="rl_data",
        title="RL data",
        parents=(
            *("candidate_pools", "rl_queries", "v2_checkpoint", "singles_selector", "sequence_selector"),
            *("single_labels", "step_labels", "embeddings"),
        ),
        config=RlDataConfig,
        code_version="2",
        kind="json",
        description="Per query, some fifteen pointers, the VLM's answer to each, its accuracy and the parts of "
        "its reward.",
        made_from=made_from.rl_data,
        place=lambda paths: manifest_beside(paths.rl_data),
        gpu=True,
        asks_vlm=lambda e: e.config("rl_data").path is None,  # not for RL data that are the user's own
        scores_answers=made_from.scores_gold_answers,
        replaces_adopted=lambda e: e.config("rl_data").path is not None,
    ),
    Step(
        name="rl_selector",
        title="by RL",
        parents=(
            *(
                "candidate_pools",
                "single_labels",
                "step_labels",
                "singles_selector",
                "sequence_selector",
                "rl_data",
            ),
            "embeddings",
        ),
        config=RlTraining,
        code_version="1",
        kind="pytorch",
        description="The selector that goes on from that of sequences with rewards, and all labels beside them.",
        made_from=made_from.rl_selector,
        place=lambda paths: manifest_in(paths.v3_folder, "rl_selector"),
        gpu=True,
        catalog_fields=_OF_A_SELECTOR,
    ),
    Step(
        name="rce_checkpoints",
        title="RCE",
        parents=("rl_data", "v2_checkpoint", "embeddings"),
        config=RceConfig,
        code_version="2",
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
        code_version="2",
        kind="pytorch",
        description="Group-relative policy optimization from the last RCE epoch: one checkpoint per epoch.",
        made_from=made_from.grpo_checkpoints,
        place=lambda paths: manifest_in(paths.v3_folder, "grpo_checkpoints"),
        gpu=True,
        unneeded=lambda e: (
            "the settings have no GRPO epochs (GRPO_EPOCHS=0)"  # SPEC K.6: the default recipe
            if e.config("grpo_checkpoints").grpo_epochs == 0
            else None
        ),
    ),
    Step(
        name="v2format_checkpoint",
        title="v2format",
        parents=("singles_selector", "sequence_selector", "rl_selector", "rce_checkpoints", "grpo_checkpoints"),
        config=ConvertConfig,
        code_version="1",
        kind="pytorch",
        description="The recommended epoch in the form that Lever-Plus' inference loads, verified by reading it "
        "back.",
        made_from=made_from.v2format_checkpoint,
        place=lambda paths: manifest_in(paths.v3_folder, "v2format_checkpoint"),
        unneeded=no_v2_format,
    ),
    Step(
        name="evaluation",
        title="evaluated",
        parents=(
            *("candidate_pools", "embeddings", "singles_selector", "sequence_selector", "rl_selector"),
            *("v2_checkpoint", "rce_checkpoints", "grpo_checkpoints", "v2format_checkpoint"),
        ),
        config=EvaluationConfig,
        code_version="6",
        kind="table",
        description="VQA accuracy, or CIDEr of captions, on the validation split: trained selectors, baselines "
        "and the best in the pool.",
        made_from=made_from.evaluation,
        place=lambda paths: manifest_in(paths.evaluation, "evaluation"),
        gpu=True,
        catalog_fields=frozenset(
            {"num_queries", "shot_counts", "oracle_beams", "oracle_expand", "oracle_queries"}
        ),
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
