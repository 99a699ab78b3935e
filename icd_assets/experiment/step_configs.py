"""The settings of the steps that have more than their library's own, and those that a whole cell shares."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from icd_assets.experiment.folder_name import checked_name
from icd_assets.experiment.recipes import DEFAULT_RECIPE, RecipeChoice
from icd_assets.selector.config import Architecture, ProposalConfig, SelectorTraining, SftConfig
from icd_assets.trackers.known import OURS, valid

Label = Literal["likelihood", "accuracy"]


class Shared(BaseModel):
    """What all steps of one cell must agree on; the first three stand in file names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: RecipeChoice = Field(
        "auto",
        description="Which labels and selectors a cell has. singles: a label for each single demonstration; "
        "sequences: labels after a first pick too; rl: rewards on queries of their own too; beams: Lever-Plus' "
        f"beams, v2 checkpoint, RCE and GRPO. auto: beams where there is a v2 checkpoint, else {DEFAULT_RECIPE}.",
        json_schema_extra={"env": "RECIPE"},
    )
    architecture: Architecture = Field(
        "coverage",
        description="The selector of every recipe but beams. coverage: picks cover what a query needs; v2: "
        "Lever-Plus' selector, the only one in its format; gru, additive: v2 with another update or score; mmr: "
        "relevance minus redundancy; transformer: reads query and picks as a sequence.",
        json_schema_extra={"env": "ARCHITECTURE"},
    )
    rl_rows: Literal["auto", "own", "anchors"] = Field(
        "auto",
        description="Whose pointers RL data hold. own: queries that no selector was fitted to; anchors: those of "
        "labels and beams, as Lever-Plus. auto: own in the recipe rl, else anchors.",
    )
    shots: int = Field(2, ge=1, le=16, description="Demonstrations per pointer in beam data, labels and RL data.")
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

    trackers: list[str] | None = Field(
        None,
        description="Experiment trackers that show trainings and evaluations, such as tensorboard, wandb, mlflow, "
        "trackio. No artifact depends on it. Unset: none.",
        json_schema_extra={"env": "TRACKERS"},
    )

    @field_validator("trackers")
    @classmethod
    def _known(cls, names: list[str] | None) -> list[str] | None:
        for name in names or ():
            if name not in OURS and name not in valid():
                raise ValueError(f"no tracker is called {name} (valid: {', '.join(valid())})")
        return names and list(dict.fromkeys(names))

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


class SingleLabelsConfig(BaseModel):
    """A label for each single candidate of a query, and for none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: Label = Field(
        "likelihood",
        description="likelihood: of the true answer, one prompt each, as InfoScore's first step; accuracy: of the "
        "answer that the model gives.",
    )
    rows: int | None = Field(
        None, ge=1, description="Label only the first so many anchors, in the order drawn; unset: all."
    )


class StepLabelsConfig(BaseModel):
    """A label for each candidate after a few picks of the selector of singles."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prefixes: int = Field(
        1, ge=1, description="Prefixes of each length per query, proposed by the selector of singles."
    )
    steps: int | None = Field(
        None,
        ge=1,
        description="Label after prefixes of 1 to so many picks; unset: up to one less than shots.",
    )
    rows: int | None = Field(
        None, ge=1, description="Label only the first so many of the queries with single labels; unset: all."
    )
    shots: int = Field(2, ge=1, description="Demonstrations per sequence.")
    seed: int = Field(42, ge=0, description="Sampled prefixes are derived from it and the query's row.")

    @property
    def longest(self) -> int:
        """Picks in the longest prefix that is labelled; 0 where one demonstration is all there is."""
        return min(self.shots - 1, self.steps if self.steps is not None else self.shots - 1)


class RlQueriesConfig(BaseModel):
    """Queries for RL that no selector was fitted to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int = Field(1000, ge=1, description="Queries to train at most; those that are no anchors come first.")
    validation_rows: int = Field(100, ge=1, description="Queries that validate; none of them is an anchor.")
    with_anchors: bool = Field(True, description="Where other rows do not suffice, take anchors too.")
    pool_size: int = Field(64, ge=2, description="Candidates that the sampler offers for one query (K).")
    seed: int = Field(42, ge=0, description="The queries are drawn with it.")


class SequenceTraining(SelectorTraining):
    """Training on the labels of singles and of sequences together, from new weights."""


class RlTraining(SelectorTraining):
    """Training on rewards and on all labels together, from the selector of sequences."""


class RlDataConfig(ProposalConfig):
    """Pointers proposed by the last selector and by baselines, each answered by the VLM."""

    prefix_rewards: bool = Field(
        False, description="Also ask with what each pointer begins with, for selectors of 1 to S shots."
    )
    rounds: int = Field(
        1,
        ge=1,
        description="Rounds of the recipe rl: after each but the last a selector is trained for the next.",
    )
    answers: int | None = Field(
        None,
        ge=1,
        description="Answers of the model at most: the first queries that they suffice for; unset: all queries.",
    )
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
