"""The pipeline as data: its steps in order, what each is made from, and the settings of each.

A setting's value is, from weakest to strongest: the library's default, the catalog's value for the dataset,
a preset, an environment variable (SPEC K.6), a flag or a field of Dagster's Launchpad. The catalog may only
set what the Launchpad shows as unset, so a value shown there is the value used.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from icd_assets.errors import UserError
from icd_assets.evaluation.config import EvaluationConfig
from icd_assets.pools.config import PoolConfig
from icd_assets.scoring.infoscore import BeamConfig
from icd_assets.scoring.rewards import RewardConfig
from icd_assets.selector.config import LEVER_PLUS, GrpoConfig, ProposalConfig, RceConfig, SftConfig


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
        json_schema_extra={"env": "LEVER_LM_CHECKPOINT_PATH"},
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
        json_schema_extra={"env": "RL_DATA_PATH"},
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
    unset: frozenset[str] = frozenset()


STEPS = (
    Step(
        "candidate_pools",
        (),
        PoolConfig,
        "1",
        "Anchor queries and, per query, the K candidates that the sampler offers: for the train anchors and "
        "for every validation query.",
    ),
    Step(
        "beam_data",
        ("candidate_pools",),
        BeamConfig,
        "1",
        "Per anchor, the demonstration sequences that raise the likelihood of the true answer most (InfoScore).",
        gpu=True,
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
        "1",
        "VQA accuracy on the validation split of the trained selectors, baselines and the best in the pool.",
        gpu=True,
        unset=frozenset({"num_queries", "oracle_beams", "oracle_expand"}),
    ),
)
STEP = {step.name: step for step in STEPS}


class Settings(BaseModel):
    """Every explicit setting of one run: what differs from defaults and catalog, and nothing else."""

    model_config = ConfigDict(frozen=True)

    shared: Shared = Shared()
    reward: RewardConfig = RewardConfig()
    explicit: dict[str, dict[str, Any]] = {}

    def config(self, asset: str, catalog: Mapping[str, Mapping[str, Any]]) -> Any:
        """The complete config of one step; ``catalog`` is the dataset entry's ``settings``."""
        step = STEP[asset]
        given = {key: value for key, value in self.explicit.get(asset, {}).items() if value is not None}
        values = {**_catalog_values(step, catalog), **given}
        values |= {name: getattr(self.shared, name) for name in shared_fields(step.config)}
        return step.config(**values)


def shared_fields(model: type[BaseModel]) -> list[str]:
    """The shared settings that a step's config takes."""
    return [name for name in Shared.model_fields if name in model.model_fields]


def own_fields(step: Step) -> list[str]:
    """The settings that are the step's own."""
    return [name for name in step.config.model_fields if name not in Shared.model_fields]


def _catalog_values(step: Step, catalog: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    values = dict(catalog.get(step.name, {}))
    if foreign := sorted(set(values) - step.unset):
        allowed = ", ".join(sorted(step.unset)) or "nothing"
        raise UserError(
            f"catalog: settings.{step.name}.{foreign[0]} cannot be set per dataset (allowed here: {allowed})."
        )
    return values


def environment_fields() -> dict[str, tuple[str, str]]:
    """Environment variable → (section, field), for every setting that has one (SPEC K.6)."""
    found: dict[str, tuple[str, str]] = {}
    for section, model in sections().items():
        for name, field in model.model_fields.items():
            extra = field.json_schema_extra
            if isinstance(extra, dict) and isinstance(variable := extra.get("env"), str):
                found.setdefault(variable, (section, name))
    return found


def sections() -> dict[str, type[BaseModel]]:
    """Every group of settings: the two that a cell shares, and one per step."""
    found: dict[str, type[BaseModel]] = {"shared": Shared, "reward": RewardConfig}
    return found | {step.name: step.config for step in STEPS}


def read_settings(
    preset: str | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[tuple[str, str], str] | None = None,
) -> Settings:
    """Settings from a preset, the environment and flags, each stronger than the one before.

    Every value is checked against its field, and a bad one is named by where it came from: ``RCE_EPOCHS``.
    """
    environment = os.environ if environment is None else environment
    values: dict[str, dict[str, Any]] = {}
    if preset is not None:
        for section, fields in _preset(preset).items():
            for field, value in fields.items():
                _set(values, section, field, value, f"preset {preset}: {section}.{field}")
    for variable, (section, field) in environment_fields().items():
        if (text := environment.get(variable)) not in (None, ""):
            _set(values, section, field, text, variable)
            for twin in STEPS:  # BATCH_SIZE is one variable for RCE and GRPO
                if twin.name != section and _variable(twin.config, field) == variable:
                    _set(values, twin.name, field, text, variable)
    for (section, field), value in (flags or {}).items():
        _set(values, section, field, value, f"{section}.{field}")
    _decide_contradictions(values, environment, flags or {})
    shared, reward = values.pop("shared", {}), values.pop("reward", {})
    try:
        return Settings(shared=Shared(**shared), reward=RewardConfig(**reward), explicit=values)
    except ValidationError as error:
        raise UserError(f"{error.errors()[0]['msg']}; mend the setting.") from None


def _variable(model: type[BaseModel], field: str) -> str | None:
    info = model.model_fields.get(field)
    extra = info.json_schema_extra if info is not None else None
    found = extra.get("env") if isinstance(extra, dict) else None
    return found if isinstance(found, str) else None


def _set(values: dict[str, dict[str, Any]], section: str, field: str, value: Any, origin: str) -> None:
    model = sections().get(section)
    if model is None or field not in model.model_fields:
        known = ", ".join(sections()) if model is None else ", ".join(model.model_fields)
        raise UserError(f"{origin}: there is no such setting; known: {known}.")
    annotation = model.model_fields[field].annotation
    if isinstance(value, str) and "list" in str(annotation):
        value = [part for part in value.replace(",", " ").split() if part]
    try:
        checked = model.model_validate({field: value})
    except ValidationError as error:
        first = next((e for e in error.errors() if e["loc"][:1] == (field,)), error.errors()[0])
        problem = first["msg"][0].lower() + first["msg"][1:]
        raise UserError(f"{origin}={value}: {problem}; mend or unset {origin}.") from None
    values.setdefault(section, {})[field] = json.loads(checked.model_dump_json())[field]


def _decide_contradictions(
    values: dict[str, dict[str, Any]], environment: Mapping[str, str], flags: Mapping[tuple[str, str], str]
) -> None:
    """Raw and normalized RCE reward exclude each other; upstream heard only the first (SPEC K.6)."""
    rce = values.get("rce_checkpoints", {})
    if rce.get("rce_use_normalized_reward"):
        if rce.get("rce_use_raw_reward"):
            raise UserError("RCE_USE_RAW_REWARD and RCE_USE_NORMALIZED_REWARD are both true; unset one of them.")
        rce["rce_use_raw_reward"] = False


# Named recipes: section → field → value. Flags and environment variables win over them.
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    # Upstream's arithmetic wherever ours differs (SPEC K, O.2), for comparison.
    "lever_plus": {
        "beam_data": {"rank": "last_step"},
        "rce_checkpoints": LEVER_PLUS["RceConfig"],
        "grpo_checkpoints": LEVER_PLUS["GrpoConfig"],
    },
    # The best recipe that upstream reports (SPEC K.6): pick the GRPO epoch by hand or with epoch=best.
    "plan_five": {
        "rce_checkpoints": {"rce_epochs": 5, "rce_use_raw_reward": True},
        "grpo_checkpoints": {"grpo_epochs": 50, "grpo_lr": 5e-6, "kl_beta": 0.1},
        "v2format_checkpoint": {"epoch": "best"},
    },
}


def _preset(name: str) -> dict[str, dict[str, Any]]:
    if name not in PRESETS:
        raise UserError(f"unknown preset {name!r}; valid: {', '.join(PRESETS)}.")
    return PRESETS[name]
