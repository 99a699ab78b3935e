"""The pipeline as data: its steps in order, what each is made from, and the settings each takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from icd_assets.evaluation.config import EvaluationConfig
from icd_assets.pools.config import PoolConfig
from icd_assets.scoring.infoscore import BeamConfig
from icd_assets.scoring.rewards import RewardSettings
from icd_assets.selector.config import GrpoConfig, ProposalConfig, RceConfig, SftConfig


class Shared(BaseModel):
    """What all steps of one cell must agree on; the first three stand in file names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shots: int = Field(2, ge=1, le=8, description="Demonstrations per pointer in beam data and RL data.")
    pool_size: int = Field(64, ge=2, description="Candidates that the sampler offers for one query (K).")
    beam_size: int = Field(5, ge=1, description="Beams kept per query in beam data.")
    seed: int = Field(42, ge=0, description="Every random draw of the cell is derived from it.")


class V2Config(SftConfig):
    """The supervised selector: the user's own checkpoint, or one trained from beam data."""

    source: Literal["auto", "import", "train"] = Field(
        "auto",
        description="auto: import the user's v2 checkpoint if there is one, else train one.",
    )
    checkpoint: str | None = Field(
        None,
        description="A v2 checkpoint to import. Unset: looked for in the dataset's model_cpk/v2.",
        json_schema_extra={"env": "LEVER_LM_CHECKPOINT_PATH", "path": True},
    )


class EmbeddingConfig(BaseModel):
    """Export of the selector's embeddings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch_size: int = Field(32, ge=1, description="Images encoded at once.")


class RlDataConfig(ProposalConfig):
    """Pointers proposed by the v2 selector and by baselines, each answered by the VLM."""

    gt_prob: bool = Field(
        False,
        description="Also measure the likelihood of the true answers (vqa_gt_prob), one VLM pass per distinct "
        "answer; the gtprob reward modes need it.",
    )
    path: str | None = Field(
        None,
        description="Use this RL data file instead of generating one.",
        json_schema_extra={"env": "RL_DATA_PATH", "path": True},
    )


class ConvertConfig(BaseModel):
    """Which trained epoch becomes the v2-format checkpoint."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Literal["auto", "rce", "grpo"] = Field(
        "auto",
        description="auto: GRPO if it was trained on today's RCE checkpoints, else RCE.",
    )
    epoch: Literal["last", "best"] = Field(
        "last",
        description="last, as Lever-Plus; best: the epoch of highest expected reward on held-out RL queries.",
    )


@dataclass(frozen=True)
class Step:
    """One asset: ``parents`` are the assets it really reads; ``unset`` names the fields that the catalog may
    set per dataset. ``code_version`` is raised when the same inputs would give other bytes."""

    name: str
    parents: tuple[str, ...]
    config: type[BaseModel]
    code_version: str
    description: str
    gpu: bool = False
    vlm: bool = False  # asks the VLM
    unset: frozenset[str] = frozenset()


STEPS = (
    Step(
        "candidate_pools",
        (),
        PoolConfig,
        "2",
        "Anchor queries of the train split and, per anchor, the K candidates that the sampler offers.",
    ),
    Step(
        "beam_data",
        ("candidate_pools",),
        BeamConfig,
        "1",
        "Per anchor, the demonstration sequences that raise the likelihood of the true answer most (InfoScore).",
        gpu=True,
        vlm=True,
        unset=frozenset({"expand"}),
    ),
    Step(
        "v2_checkpoint",
        ("candidate_pools", "beam_data"),
        V2Config,
        "1",
        "The supervised (SFT) pointer selector: the user's own checkpoint, or one trained from beam data.",
        gpu=True,
        unset=frozenset({"hidden_dim", "epochs", "lr", "batch_size", "dropout", "weight_decay"}),
    ),
    Step(
        "embeddings",
        ("v2_checkpoint",),
        EmbeddingConfig,
        "1",
        "The v2 checkpoint's image+question embedding of every train row.",
        gpu=True,
    ),
    Step(
        "rl_data",
        ("candidate_pools", "v2_checkpoint", "embeddings"),
        RlDataConfig,
        "1",
        "Per anchor, some fifteen pointers, the VLM's answer to each, its accuracy and the parts of its reward.",
        gpu=True,
        vlm=True,
    ),
    Step(
        "rce_checkpoints",
        ("rl_data", "v2_checkpoint", "embeddings"),
        RceConfig,
        "1",
        "Reward-weighted cross-entropy warm-up: one checkpoint per epoch.",
        gpu=True,
    ),
    Step(
        "grpo_checkpoints",
        ("rce_checkpoints", "rl_data", "v2_checkpoint", "embeddings"),
        GrpoConfig,
        "1",
        "Group-relative policy optimization from the last RCE epoch: one checkpoint per epoch.",
        gpu=True,
    ),
    Step(
        "v2format_checkpoint",
        ("rce_checkpoints", "grpo_checkpoints"),
        ConvertConfig,
        "1",
        "The recommended epoch in the form that Lever-Plus' inference loads, verified by reading it back.",
    ),
    Step(
        "evaluation",
        ("candidate_pools", "v2_checkpoint", "rce_checkpoints", "grpo_checkpoints", "v2format_checkpoint"),
        EvaluationConfig,
        "3",
        "VQA accuracy, or CIDEr of captions, on the validation split: trained selectors, baselines and the best "
        "in the pool.",
        gpu=True,
        vlm=True,
        unset=frozenset({"num_queries", "oracle_beams", "oracle_expand"}),
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
