"""The settings of the steps that have more than their library's own, and those that a whole cell shares."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from icd_assets.experiment.folder_name import checked_name
from icd_assets.selector.config import ProposalConfig, SftConfig


class Shared(BaseModel):
    """What all steps of one cell must agree on; the first three stand in file names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shots: int = Field(2, ge=1, le=8, description="Demonstrations per pointer in beam data and RL data.")
    pool_size: int = Field(64, ge=2, description="Candidates that the sampler offers for one query (K).")
    beam_size: int = Field(5, ge=1, description="Beams kept per query in beam data.")
    seed: int = Field(42, ge=0, description="Every random draw of the cell is derived from it.")
    name: str | None = Field(
        None,
        description="A second experiment of the cell: its checkpoints and tables lie in folders of their own, "
        "v3_<sampler>_<model>_<name>. Unset: Lever-Plus' own folders.",
        json_schema_extra={"env": "RUN_NAME", "flag": "--name"},
    )
    reward_suffix: str | None = Field(
        None,
        description="The weights of the reward as they stand in the folders' names, e.g. _h2_s1.0; the command "
        "line takes them from the text of HARD_WEIGHT and SOFT_WEIGHT. Unset: _h2.0_s1.0.",
    )

    @field_validator("name")
    @classmethod
    def _fit_for_a_folder(cls, name: str | None) -> str | None:
        return None if name is None else checked_name(name)


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
        "answer; the gtprob reward modes need it, and so does Lever-Plus' trainer, which reads null as 0.",
        json_schema_extra={"env": "GT_PROB"},
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
