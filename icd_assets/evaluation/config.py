"""Settings of an evaluation."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

# Strategies without training beside random choice and similarity: icd_assets/evaluation/baselines.
BASELINES = ("mmr", "dpp", "bm25", "vote_k", "same_type")


class EvaluationConfig(BaseModel):
    """Which validation queries and shot counts are compared, and how sure the intervals are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shot_counts: list[Annotated[int, Field(ge=1)]] = Field(
        [1, 2, 3, 4], min_length=1, description="Numbers of demonstrations at which strategies are compared."
    )
    compare_shots: int = Field(2, ge=1, description="Number of demonstrations in the main table.")
    num_queries: int = Field(
        800,
        ge=-1,
        description="How many of the first validation questions (or images to caption) are asked; -1 asks all.",
        json_schema_extra={"env": "TEST_DATA_NUM"},
    )
    subset: bool = Field(
        False,
        description="Ask only the validation questions that the catalog's subset file lists (VQAv2: 10k); "
        "num_queries then takes the first of these. A data set typed as *_local_sub switches it on.",
    )
    oracle_beams: int = Field(
        0,
        ge=0,
        description="Beams of the search for the best demonstrations in each pool, with the true answer in hand; "
        "it costs at least K scored prompts a question, and 0 leaves it out.",
    )
    oracle_queries: int | None = Field(
        None,
        ge=1,
        description="How many of the first questions the oracle is tried on; unset: all. It is compared with the "
        "others on these alone.",
    )
    oracle_expand: int = Field(
        12, ge=1, description="After the first demonstration, the oracle tries only this many best singles."
    )
    baselines: list[str] = Field(
        list(BASELINES),
        description="Further strategies of the main table: mmr, dpp, bm25 (on the question), vote_k, same_type "
        "(random, of the query's question type). Each asks one prompt a question; an empty list leaves them out.",
    )
    library_candidates: int = Field(
        64,
        ge=0,
        description="Rows of the whole train split, the nearest to the query, that each selector may choose from "
        "besides its pool, in a further row of the main table; 0 leaves these rows out.",
    )
    seed: int = Field(42, ge=0, description="Seed of random demonstrations and shuffled labels.")

    @field_validator("baselines")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        for name in names:
            if name not in BASELINES:
                near = get_close_matches(name, BASELINES, n=1, cutoff=0.5)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise ValueError(f"{name!r} is no baseline (known: {', '.join(BASELINES)}){hint}")
        return names

    @property
    def all_shots(self) -> list[int]:
        """Every shot count that is evaluated, ascending; the main table's is always among them."""
        return sorted({*self.shot_counts, self.compare_shots})

    def query_count(self, available: int) -> int:
        """How many of ``available`` validation rows are asked, from the first on (SPEC M)."""
        return available if self.num_queries < 0 else min(self.num_queries, available)
