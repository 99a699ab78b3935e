"""Settings of the selector's stages, without torch, so that a UI can show them (names as in SPEC K.5, K.6).

A default that differs from Lever-Plus is one field, and ``LEVER_PLUS`` holds upstream's value of it.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Normalization = Literal["z_score_clamp", "z_score", "rank_normalize"]
ConstantGroup = Literal["zero", "raw"]
BeamWeighting = Literal["uniform", "softmax"]
RceTarget = Literal["softmax", "above_mean", "tilted"]
Likelihood = Literal["pool", "group"]
Reference = Literal["sft", "rce"]
OldPolicy = Literal["epoch_start", "grpo_start", "sft"]
RewardSource = Literal["raw", "normalized"]
Baseline = Literal["mean", "leave_one_out"]
Scale = Literal["none", "group", "batch"]
RatioLevel = Literal["sequence", "sequence_mean", "step"]
DropoutPer = Literal["query", "pointer"]
TopKTies = Literal["first", "torch"]
Divergence = Literal["under_policy", "stored_prefixes", "stored_prefixes_forward", "k1", "k2", "k3"]
Architecture = Literal["coverage", "v2", "gru", "additive", "mmr", "transformer"]
DenseLoss = Literal["cross_entropy", "expectation", "log_expectation", "marginal"]
KeptBy = Literal["expected_reward", "greedy_reward", "last"]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SelectorShape(_Settings):
    """What a user decides about a selector; dropout is not part of its weights."""

    hidden_dim: int = Field(256, ge=1, description="Width of the selector (H).")
    num_layers: int = Field(
        1,
        ge=1,
        description="Cross-attention layers from the query to its pool.",
        json_schema_extra={"env": "NUM_LAYERS"},
    )
    num_heads: int = Field(1, ge=1, description="Heads of each cross-attention layer; must divide the width.")
    dropout: float = Field(0.5, ge=0, lt=1, description="Dropout before the query and candidate projections.")
    attn_dropout: float = Field(0.1, ge=0, lt=1, description="Dropout of the attention weights.")


class SelectorConfig(SelectorShape):
    """All that a :class:`~icd_assets.selector.architectures.interface.PointerSelector` is built from."""

    embedding_dim: int = Field(512, ge=1, description="Width of query and candidate embeddings (D).")
    architecture: Architecture = Field("v2", description="How picks are scored and taken into account.")
    aspects: int = Field(8, ge=1, description="Aspects of a coverage selector (A); must divide the width.")


class ProposalConfig(_Settings):
    """How many pointers each generator proposes per query (SPEC G.3)."""

    num_beams: int = Field(5, ge=0, description="Pointers from beam search under the policy.")
    temps: list[float] = Field([1.0, 1.3], description="Sampling temperatures, on top of the model's own 0.1.")
    samples_per_temp: int = Field(2, ge=0, description="Pointers sampled at each temperature.")
    num_retrieval: int = Field(5, ge=0, description="Pointers of neighboring ranks in embedding similarity.")
    num_random: int = Field(1, ge=0, description="Uniformly drawn pointers.")
    shots: int = Field(2, ge=1, description="Demonstrations per pointer.")
    seed: int = Field(42, ge=0, description="Every random draw is derived from it and the query's row.")

    @property
    def pointers(self) -> int:
        """Of one query, before equal ones are merged."""
        return self.num_beams + len(self.temps) * self.samples_per_temp + self.num_retrieval + self.num_random


class RowsConfig(_Settings):
    """Which rows of RL data are used for training (SPEC I)."""

    skip_fallback_reward: bool = Field(
        True,
        description="Drop pointers judged by string comparison instead of the VQA metric.",
        json_schema_extra={"env": "SKIP_FALLBACK_REWARD"},
    )
    require_positive_query: bool = Field(
        False,
        description="Drop queries for which no pointer's answer was correct.",
        json_schema_extra={"env": "REQUIRE_POSITIVE_QUERY"},
    )


class _SftSchedule(_Settings):
    epochs: int = Field(20, ge=1, description="Passes over the beams; the epoch of lowest validation loss stays.")
    lr: float = Field(1e-4, gt=0, description="Peak learning rate of AdamW.")
    weight_decay: float = Field(1e-3, ge=0, description="Weight decay of AdamW.")
    warmup_fraction: float = Field(
        0.05, ge=0, lt=1, description="Share of updates that warm up before cosine decay."
    )
    batch_size: int = Field(64, ge=1, description="Beams per update.")


class SftConfig(SelectorShape, _SftSchedule):  # pydantic lists the fields of the last base first
    """Supervised training of the v2 selector on beam data (SPEC E.4)."""

    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="Share of the target spread over the whole selectable pool."
    )
    grad_clip: float = Field(0.0, ge=0, description="Largest norm of the gradient; 0 does not clip, as upstream.")
    beam_weighting: BeamWeighting = Field(
        "uniform",
        description="uniform: all beams of a query count the same, as upstream; softmax: better ones count more.",
    )
    beam_temperature: float = Field(
        0.1, gt=0, description="Temperature of the softmax over a query's beam scores."
    )
    val_fraction: float = Field(
        0.1, gt=0, lt=1, description="Share of queries, the last by id, held out to pick the epoch."
    )
    seed: int = Field(42, ge=0, description="Initial weights, order and dropout are derived from it.")


class SelectorTraining(_Settings):
    """Training of a selector on step labels, pointers and beams, together or alone."""

    architecture: Architecture = Field(
        "coverage",
        description="coverage: picks cover what a query needs; v2: Lever-Plus' selector, the only one in its "
        "format; gru, additive: v2 with another update or score; mmr: relevance minus redundancy; "
        "transformer: reads query and picks as a sequence.",
    )
    hidden_dim: int = Field(64, ge=1, description="Width of the selector (H).")
    aspects: int = Field(8, ge=1, description="Aspects of a coverage selector (A); must divide the width.")
    num_layers: int = Field(1, ge=1, description="Layers of attention (v2, gru, additive, transformer).")
    num_heads: int = Field(1, ge=1, description="Heads of each layer of attention; must divide the width.")
    dropout: float = Field(0.2, ge=0, lt=1, description="Dropout of the embeddings, or before v2's projections.")
    attn_dropout: float = Field(0.1, ge=0, lt=1, description="Dropout of attention (of whole transformer layers).")
    dense_loss: DenseLoss = Field(
        "cross_entropy",
        description="cross_entropy: imitate softmax(label/temperature); expectation: raise the expected label; "
        "log_expectation: raise its logarithm; marginal: raise the mass on labels within 90 % of the best.",
    )
    temperature: float = Field(0.05, gt=0, description="Temperature of the target of cross_entropy.")
    step_weights: list[float] = Field(
        [1.0],
        min_length=1,
        description="Weights of the labels after 0, 1, 2, … picks; the last holds for all longer prefixes.",
    )
    pointer_weight: float = Field(1.0, ge=0, description="Weight of the expected reward of stored pointers.")
    shot_weights: list[float] = Field(
        [1.0],
        min_length=1,
        description="Weights of the rewards of pointers of 1, 2, … demonstrations, on top of pointer_weight; the "
        "last holds for all longer ones.",
    )
    beam_weight: float = Field(1.0, ge=0, description="Weight of the cross-entropy of beams.")
    updates: int = Field(2500, ge=1, description="Updates in all; the learning rate falls linearly to a tenth.")
    updates_per_epoch: int = Field(
        100, ge=1, description="Updates after which the selector is validated, and training can be resumed."
    )
    batch_size: int = Field(16, ge=1, description="Queries per update.")
    lr: float = Field(2e-3, gt=0, description="First learning rate of AdamW.")
    weight_decay: float = Field(0.01, ge=0, description="Weight decay of AdamW.")
    grad_clip: float = Field(1.0, ge=0, description="Largest norm of the gradient; 0 does not clip.")
    kept_by: KeptBy = Field(
        "last",  # a few dozen held-out queries choose by chance; the rate has fallen to a tenth by then
        description="Which epoch stays: the last one, or that of the highest label or reward of held-out queries, "
        "expected under the policy or of its greedy choice.",
    )
    val_fraction: float = Field(
        0.1, gt=0, lt=1, description="Share of queries, the last by id, held out where none are named."
    )
    seed: int = Field(42, ge=0, description="Initial weights, order and dropout are derived from it.")

    @field_validator("step_weights", "shot_weights")
    @classmethod
    def _none_negative(cls, weights: list[float]) -> list[float]:
        if min(weights) < 0:
            raise ValueError("a weight below 0 would teach the opposite of the labels")
        return weights

    def selector(self, embedding_dim: int) -> SelectorConfig:
        """The selector that is trained, for embeddings of this width."""
        shared = {name: getattr(self, name) for name in SelectorConfig.model_fields if name != "embedding_dim"}
        return SelectorConfig(embedding_dim=embedding_dim, **shared)

    def step_weight(self, picks: int) -> float:
        """Weight of the labels after so many picks."""
        return self.step_weights[min(picks, len(self.step_weights) - 1)]

    def shot_weight(self, shots: int) -> float:
        """Weight of the rewards of pointers of so many demonstrations."""
        return self.pointer_weight * self.shot_weights[min(shots, len(self.shot_weights)) - 1]


class RlConfig(RowsConfig):
    """What RCE and GRPO share."""

    batch_size: int = Field(
        32,
        ge=1,
        description="Queries per update (upstream: 1). The learning rates fit this size; another needs others.",
        json_schema_extra={"env": "BATCH_SIZE"},
    )
    dropout_per: DropoutPer = Field(
        "query",
        description="query: the pointers of a query share what dropout leaves of it and its pool; pointer: each "
        "has its own, as upstream, for several times the arithmetic.",
    )
    skip_constant_groups: bool = Field(
        True,
        description="Leave out queries whose pointers all earned the same reward, for they teach no preference; "
        "upstream keeps them.",
    )
    normalize_method: Normalization = Field(
        "z_score_clamp", description="How rewards are normalized within a query, where they are."
    )
    normalize_clamp_value: float = Field(
        3.0, gt=0, description="Largest absolute normalized reward (z_score_clamp)."
    )
    constant_group: ConstantGroup = Field(
        "zero", description="Normalized rewards of a query without variance: zero, or left raw as upstream."
    )
    weight_decay: float = Field(0.01, ge=0, description="Weight decay of AdamW.")
    grad_clip: float = Field(1.0, ge=0, description="Largest norm of the gradient; 0 does not clip.")
    train_fraction: float = Field(
        0.8, gt=0, lt=1, description="Share of queries, the first by id, to train on; the rest validates."
    )
    seed: int = Field(42, ge=0, description="Order and dropout are derived from it.")


class RceConfig(RlConfig):
    """Reward-weighted cross-entropy (SPEC K.1)."""

    rce_epochs: int = Field(
        5, ge=1, description="Passes over the RL data.", json_schema_extra={"env": "RCE_EPOCHS"}
    )
    rce_lr: float = Field(
        1e-3,
        gt=0,
        description="Learning rate of AdamW (upstream, a query at a time: 1e-4).",
        json_schema_extra={"env": "RCE_LR"},
    )
    num_layers: int | None = Field(
        None,
        ge=1,
        description="Cross-attention layers that the v2 checkpoint must have; unset: as many as it has.",
        json_schema_extra={"env": "NUM_LAYERS"},
    )
    rce_target: RceTarget = Field(
        "tilted",
        description="Weights of a query's pointers. softmax: softmax(reward/τ), as upstream, so that even "
        "worthless pointers are imitated; above_mean: by how far the reward is above the query's mean; "
        "tilted: softmax(reward/τ + log-probability under the policy before RCE).",
    )
    rce_likelihood: Likelihood = Field(
        "group",
        description="What a pointer competes with. pool: all pointers of the pool, as upstream; group: the "
        "query's stored pointers, so that only the preference among them is learned.",
    )
    rce_temp_start: float = Field(
        1.0,
        gt=0,
        description="Reward temperature τ at the first update (upstream: 2).",
        json_schema_extra={"env": "RCE_TEMP_START"},
    )
    rce_temp_end: float = Field(
        0.3,
        gt=0,
        description="Reward temperature τ at the last update (upstream: 0.5).",
        json_schema_extra={"env": "RCE_TEMP_END"},
    )
    rce_use_raw_reward: bool = Field(
        True,
        description="Weigh by the raw reward; false: by the reward normalized within the query.",
        json_schema_extra={"env": "RCE_USE_RAW_REWARD"},
    )
    rce_use_normalized_reward: bool = Field(
        False,
        description="Weigh by the reward normalized within the query, whatever rce_use_raw_reward says.",
        json_schema_extra={"env": "RCE_USE_NORMALIZED_REWARD"},
    )
    use_top1_only: bool = Field(False, description="Imitate only the first stored pointer of each query.")
    dropout: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="Dropout before the projections while training (upstream: 0.5).",
    )
    attn_dropout: float = Field(0.1, ge=0, lt=1, description="Dropout of the attention weights while training.")

    @field_validator("rce_epochs", mode="before")
    @classmethod
    def _some_epochs(cls, epochs: Any) -> Any:
        if str(epochs).strip() == "0":
            raise ValueError(
                "there must be an epoch of RCE for GRPO to start from; RCE_EPOCHS=1 with RCE_LR=1e-12 leaves the "
                "v2 selector as it is, so that GRPO starts from it"
            )
        return epochs


class GrpoConfig(RlConfig):
    """Group-relative policy optimization (SPEC K.3)."""

    grpo_epochs: int = Field(
        0,
        ge=0,
        description="Passes over the RL data; 0 leaves GRPO out.",
        json_schema_extra={"env": "GRPO_EPOCHS"},
    )
    grpo_lr: float = Field(
        2e-4,
        gt=0,
        description="Learning rate of AdamW (upstream, a query at a time: 5e-6).",
        json_schema_extra={"env": "GRPO_LR"},
    )
    reference: Reference = Field(
        "rce",
        description="Policy that the KL term holds on to: the one after RCE, or, as upstream, the v2 checkpoint, "
        "towards which an adaptive KL weight undoes what RCE learned.",
    )
    old_policy: OldPolicy = Field(
        "epoch_start",
        description="Policy in the ratio's denominator; with sft, as upstream, the first ratios are far from 1.",
    )
    reward_source: RewardSource = Field(
        "raw", description="Rewards behind the advantages: raw, or normalized within the query as upstream."
    )
    baseline: Baseline = Field(
        "leave_one_out",
        description="What is subtracted from a reward: the query's mean, as upstream, or the mean of the others.",
    )
    scale_rewards: Scale = Field(
        "none",
        description="Standard deviation that advantages are divided by: none, the query's, as upstream, or the "
        "batch's.",
    )
    std_floor: float = Field(0.1, ge=0, description="Smallest standard deviation that advantages are divided by.")
    use_rank_advantage: bool = Field(
        False,
        description="Advantages are ranks from 1 (best) to −1 instead of rewards.",
        json_schema_extra={"env": "USE_RANK_ADVANTAGE"},
    )
    advantage_clip: float = Field(5.0, gt=0, description="Largest absolute advantage.")
    first_epoch_top_k: int = Field(
        0, ge=0, description="In the first epoch only a query's k best pointers count; 0: all (upstream: 3)."
    )
    later_epochs_top_k: int = Field(
        0, ge=0, description="In later epochs only a query's k best pointers count; 0: all (upstream: 5)."
    )
    topk_ties: TopKTies = Field(
        "first",
        description="Which of equal rewards are among the k best. first: the pointers stored first; torch: those "
        "that torch.topk takes on a CPU, as upstream.",
    )
    topk_before_advantage: bool = Field(
        False, description="Advantages among the k best only, as upstream, instead of among the whole group."
    )
    clip_epsilon: float = Field(
        0.2,
        gt=0,
        description="Clip range of the ratio below 1.",
        json_schema_extra={"env": "PPO_CLIP_RATIO", "also": ["CLIP_EPSILON"]},
    )
    clip_epsilon_high: float | None = Field(
        None, gt=0, description="Clip range of the ratio above 1; unset: as below 1."
    )
    ratio_level: RatioLevel = Field(
        "sequence", description="Ratio of whole pointers, its geometric mean over shots, or one ratio per shot."
    )
    use_ppo_clip_only: bool = Field(
        False,
        description="No KL term; contradicts a KL_BETA above 0.",
        json_schema_extra={"env": "USE_PPO_CLIP", "also": ["USE_PPO_CLIP_ONLY"]},
    )
    kl_beta: float | None = Field(
        None,
        ge=0,
        description="Weight of the KL term at the first update; unset: 0.15, or 0 with use_ppo_clip_only.",
        json_schema_extra={"env": "KL_BETA"},
    )
    kl: Divergence = Field(
        "under_policy",
        description="under_policy: KL(policy‖reference) of whole pointers, exact while a query has at most 256 "
        "prefixes (two shots), else at 32 that the policy draws; stored_prefixes: over the whole pool, at the "
        "prefixes of the stored pointers, which is another number; stored_prefixes_forward: the other direction; "
        "k1, k2, k3: estimates from the stored pointers (upstream: k3).",
    )
    adaptive_kl: bool = Field(
        True, description="Adapt the KL weight after every update, to keep KL between 0.01 and 0.1."
    )
    entropy_bonus: float = Field(0.0, ge=0, description="Weight of the policy's exact entropy, as a reward.")
    freeze_backbone_in_grpo: bool = Field(
        False,
        description="Train attention, norms and gate only; the projections stay.",
        json_schema_extra={"env": "FREEZE_BACKBONE_IN_GRPO"},
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout while training; above 0 the ratio is noisy.")
    attn_dropout: float = Field(0.0, ge=0, lt=1, description="Dropout of the attention weights while training.")

    @field_validator("kl", mode="before")
    @classmethod
    def _older_names(cls, kl: Any) -> Any:
        """These averaged over the prefixes of stored pointers, which is not the exact KL of the policy."""
        older = {"exact": "stored_prefixes", "exact_forward": "stored_prefixes_forward"}
        if kl in older:
            raise ValueError(f"{kl} is now named {older[kl]}; under_policy is the exact KL under the policy")
        return kl


# Upstream's arithmetic (SPEC K), where our default differs from it.
LEVER_PLUS: dict[str, dict[str, Any]] = {
    "RceConfig": {
        "batch_size": 1,
        "rce_lr": 1e-4,
        "rce_target": "softmax",
        "rce_likelihood": "pool",
        "rce_temp_start": 2.0,
        "rce_temp_end": 0.5,
        "rce_use_raw_reward": True,
        "dropout": 0.5,
        "dropout_per": "pointer",
        "skip_constant_groups": False,
        "constant_group": "raw",
    },
    "GrpoConfig": {
        "batch_size": 1,
        "grpo_lr": 5e-6,
        "reference": "sft",
        "old_policy": "sft",
        "reward_source": "normalized",
        "constant_group": "raw",
        "baseline": "mean",
        "scale_rewards": "group",
        "skip_constant_groups": False,
        "first_epoch_top_k": 3,
        "later_epochs_top_k": 5,
        "topk_ties": "torch",
        "topk_before_advantage": True,
        "kl": "k3",
        "dropout": 0.5,
        "attn_dropout": 0.1,
        "dropout_per": "pointer",
    },
}
