"""Rewards of answered pointers from their labels (SPEC J).

Deviations from upstream:
1. An unknown mode is refused when the settings are read, ``hybrid`` (accepted upstream, then raises)
   included.
2. ``cider`` is ours: a caption's CIDEr, the one reward of a caption dataset (upstream's v3 has no captions).
"""

from __future__ import annotations

from collections.abc import Set
from typing import TYPE_CHECKING, Any, Literal, assert_never, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator

from icd_assets.errors import UserError

if TYPE_CHECKING:
    from icd_assets.scoring.rl_data import AnsweredPointer

RewardMode = Literal[
    "hard_plus_soft",
    "hard_plus_soft_v2",
    "separated",
    "hard_only",
    "soft_only",
    "hard01_plus_gtprob",
    "hard01_plus_gtprob_separated",
    "hard_plus_gtprob_plus_rel",
    "legacy",
    "cider",
]
REWARD_MODES: tuple[RewardMode, ...] = get_args(RewardMode)

# What a task's metric says of an answer; names are those of :class:`icd_assets.scoring.rl_data.AnsweredPointer`.
# A mode fits a task that gives every label that the mode reads.
Label = Literal["vqa_correct", "vqa_acc_score", "vqa_gt_prob", "vqa_rel_score", "cider"]
_CORRECTNESS: frozenset[Label] = frozenset({"vqa_correct", "vqa_acc_score"})

_LIMIT = 5.0  # every reward is clipped to ±5


class RewardSettings(BaseModel):
    """What a demonstration sequence is rewarded for (SPEC J), as a user sets it: the task may decide the mode."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["auto", RewardMode] = Field(
        "auto",
        description="How correctness, accuracy, answer probability and relevance combine into a reward. "
        "auto: hard_plus_soft, and cider for captions.",
        json_schema_extra={"env": "REWARD_MODE"},
    )
    hard_weight: float = Field(
        1.0,
        allow_inf_nan=False,
        description="Weight of correctness (0 or 1).",
        json_schema_extra={"env": "HARD_WEIGHT"},
    )
    soft_weight: float = Field(
        1.0,
        allow_inf_nan=False,
        description="Weight of VQA accuracy, or of the gold answers' probability in the gtprob modes.",
        json_schema_extra={"env": "SOFT_WEIGHT"},
    )
    rel_weight: float = Field(
        0.1,
        allow_inf_nan=False,
        description="Weight of a wrong answer's relevance (mode hard_plus_gtprob_plus_rel).",
        json_schema_extra={"env": "REL_WEIGHT"},
    )
    alpha: float = Field(0.0, allow_inf_nan=False, description="Mode legacy: weight of the beam's own score.")
    beta: float = Field(0.0, allow_inf_nan=False, description="Mode legacy: weight of correctness.")
    correctness_mode: Literal["01", "pm1"] = Field(
        "01", description="Mode legacy: correctness as 0/1, or as -1/+1."
    )
    use_logprob: bool = Field(
        False, description="Mode legacy: use the negated log-probability as the beam's own score."
    )

    @field_validator("mode", mode="before")
    @classmethod
    def _known_mode(cls, mode: Any) -> Any:
        if mode not in ("auto", *REWARD_MODES):
            raise UserError(f"REWARD_MODE {mode!r} is not a reward mode; valid: {', '.join(REWARD_MODES)}.")
        return mode

    def decided(self, task: str, labels: Set[Label], default: RewardMode) -> RewardConfig:
        """The reward of a dataset of ``task``, which gives ``labels``; a mode that reads another is refused."""
        mode = default if self.mode == "auto" else self.mode
        if not reads(mode) <= labels:
            valid = [name for name in REWARD_MODES if reads(name) <= labels]
            raise UserError(
                f"REWARD_MODE {mode} is not a reward of the task {task}; unset it or take one of: "
                f"{', '.join(valid)}."
            )
        return RewardConfig(**{**self.model_dump(), "mode": mode})


class RewardConfig(RewardSettings):
    """The reward in force: its mode is decided."""

    mode: RewardMode = "hard_plus_soft"


def reads(mode: RewardMode) -> frozenset[Label]:
    """The labels that a mode is computed from."""
    match mode:
        case "hard_plus_soft" | "hard_plus_soft_v2" | "separated" | "legacy":
            return frozenset({"vqa_correct", "vqa_acc_score"})
        case "hard_only":
            return frozenset({"vqa_correct"})
        case "soft_only":
            return frozenset({"vqa_acc_score"})
        case "hard01_plus_gtprob" | "hard01_plus_gtprob_separated":
            return frozenset({"vqa_correct", "vqa_gt_prob"})
        case "hard_plus_gtprob_plus_rel":
            return frozenset({"vqa_correct", "vqa_gt_prob", "vqa_rel_score"})
        case "cider":
            return frozenset({"cider"})
        case _:
            assert_never(mode)


def weights(mode: RewardMode) -> tuple[str, ...]:
    """The settings that a mode weighs its labels by; where all are 0, so is every reward."""
    match mode:
        case "hard_only":
            return ("hard_weight",)
        case "soft_only":
            return ("soft_weight",)
        case "hard_plus_soft" | "hard_plus_soft_v2" | "separated" | "hard01_plus_gtprob":
            return ("hard_weight", "soft_weight")
        case "hard01_plus_gtprob_separated":
            return ("hard_weight", "soft_weight")
        case "hard_plus_gtprob_plus_rel":
            return ("hard_weight", "soft_weight", "rel_weight")
        case "legacy":
            return ("alpha", "beta")
        case "cider":
            return ()
        case _:
            assert_never(mode)


def needs_gt_prob(config: RewardConfig) -> bool:
    """Whether a reward reads ``vqa_gt_prob``, which costs one more model pass per distinct gold answer."""
    return "vqa_gt_prob" in reads(config.mode)


def needs_cider(config: RewardConfig) -> bool:
    """Whether a reward reads ``cider``."""
    return "cider" in reads(config.mode)


def knows_correct(config: RewardConfig) -> bool:
    """Whether a reward is of answers that are right or wrong; a caption is only better or worse."""
    return bool(reads(config.mode) & _CORRECTNESS)


def computable(answered: AnsweredPointer, config: RewardConfig) -> bool:
    """Whether no field that the reward of this pointer is computed from is NaN or infinite in its file."""
    if not answered.not_finite:
        return True
    read: Set[str] = reads(config.mode)
    if config.mode == "legacy":
        read = {"vqa_correct"} if answered.vqa_correct is not None else {"vqa_correct", "vqa_acc_score"}
        read |= {"logprob_score" if config.use_logprob else "beam_score"}
    return not answered.not_finite & read


def reward(answered: AnsweredPointer, config: RewardConfig) -> float:
    """The raw reward of one answered pointer, in [−5, 5]; a missing label counts as 0."""
    h = answered.vqa_correct or 0  # hard: right or wrong
    s = answered.vqa_acc_score or 0.0  # soft: how many annotators agree
    g = answered.vqa_gt_prob or 0.0  # gold: the likelihood of the true answers
    r = answered.vqa_rel_score or 0.0  # relevance: how near a wrong answer is
    hard, soft, rel = config.hard_weight, config.soft_weight, config.rel_weight
    match config.mode:
        case "hard_plus_soft":
            value = hard * h + soft * s
        case "hard_plus_soft_v2" | "separated":
            value = 2 * hard * h + soft * s
        case "hard_only":
            value = hard * h
        case "soft_only":
            value = soft * s
        case "hard01_plus_gtprob":
            value = hard * h + soft * g
        case "hard01_plus_gtprob_separated":
            value = 2 * hard * h + soft * g
        case "hard_plus_gtprob_plus_rel":
            value = hard * h + soft * g + rel * (1 - h) * r
        case "legacy":
            value = _legacy(answered, config)
        case "cider":
            value = answered.cider or 0.0
        case _:
            assert_never(config.mode)
    return max(-_LIMIT, min(_LIMIT, value))


def _legacy(answered: AnsweredPointer, config: RewardConfig) -> float:
    """α·(beam's own score) + β·(correctness)."""
    own = answered.beam_score or 0.0
    if config.use_logprob and answered.logprob_score is not None:
        own = -answered.logprob_score
    known = answered.vqa_acc_score if answered.vqa_correct is None else answered.vqa_correct
    if known is None:
        correctness: float = 0
    else:
        correctness = 2 * known - 1 if config.correctness_mode == "pm1" else known
    return config.alpha * own + config.beta * correctness


def suffix(config: RewardConfig) -> str:
    """What upstream appends to the name of a v3 folder (SPEC A.2); ``rel_weight`` is not in it.

    ``cider`` follows the rule of the other modes although it is the captions' default: one rule, and no folder
    could mean two rewards should captions get a second one.
    """
    if config.mode == "hard_plus_soft":
        text = f"_h{config.hard_weight}_s{config.soft_weight}"
        return "" if text == "_h1.0_s1.0" else text
    return f"_{config.mode}"
