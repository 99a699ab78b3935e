"""Settings of the candidate pools."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

SAMPLERS = ("RandSampler", "TextSimSampler", "ImgSimSampler", "MixSampler")


class PoolConfig(BaseModel):
    """Which demonstrations a query may choose from (SPEC C)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pool_size: int = Field(64, ge=1, description="Number of candidate demonstrations offered to each query.")
    seed: int = Field(42, description="Seed of the anchor draw and of the random candidates.")
    allow_same_image: bool = Field(
        False, description="Whether a pool may hold other questions about the query's own image (a leak)."
    )
    mix_rand: float = Field(0.5, ge=0, le=1, description="MixSampler: share of random candidates.")
    mix_text: float = Field(0.25, ge=0, le=1, description="MixSampler: share chosen by question similarity.")
    mix_image: float = Field(0.25, ge=0, le=1, description="MixSampler: share chosen by image similarity.")


def needs_features(sampler: str) -> bool:
    """Whether a sampler compares CLIP features."""
    return sampler != "RandSampler"
