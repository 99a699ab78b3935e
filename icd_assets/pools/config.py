"""Settings of the candidate pools, and the table of samplers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from icd_assets.errors import UserError


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


# What candidates are taken by: drawn at random, or ranked by the cosine of CLIP's text or image features.
Source = Literal["rand", "text", "image"]


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """How the candidates of a pool are chosen: so many of each source, in the order in which they stand there."""

    name: str  # as file names and partition keys carry it (SPEC A.1)
    alias: str  # as the command line spells it
    sources: tuple[Source, ...]
    counts: Callable[[PoolConfig], Sequence[int]]  # per source; together ``pool_size``
    description: str

    @property
    def needs_features(self) -> bool:
        """Whether it compares CLIP features."""
        return any(source != "rand" for source in self.sources)

    def shares(self, config: PoolConfig) -> list[tuple[Source, int]]:
        """(source, how many) in the order of the pool."""
        return list(zip(self.sources, self.counts(config), strict=True))


def _whole(config: PoolConfig) -> tuple[int, ...]:
    return (config.pool_size,)


def _mix(config: PoolConfig) -> tuple[int, ...]:
    """Random and text shares are rounded down, and images take the rest, as upstream."""
    total = config.mix_rand + config.mix_text + config.mix_image
    if abs(total - 1) > 1e-9:
        raise UserError(f"mix_rand + mix_text + mix_image is {total:g}; the three shares must sum to 1.")
    rand, text = int(config.mix_rand * config.pool_size), int(config.mix_text * config.pool_size)
    return rand, config.pool_size - rand - text, text


_SAMPLERS = (
    Sampler(
        name="RandSampler",
        alias="rand_sampler",
        sources=("rand",),
        counts=_whole,
        description="Random rows of the train split.",
    ),
    Sampler(
        name="TextSimSampler",
        alias="text_sim_sampler",
        sources=("text",),
        counts=_whole,
        description="The rows of the most similar question; for captions, of the best caption for the image.",
    ),
    Sampler(
        name="ImgSimSampler",
        alias="img_sim_sampler",
        sources=("image",),
        counts=_whole,
        description="The rows with the most similar image.",
    ),
    Sampler(
        name="MixSampler",
        alias="mix_sampler",
        sources=("rand", "image", "text"),
        counts=_mix,
        description="Some random rows, then some of the most similar image, then some of the most similar text.",
    ),
)
SAMPLERS = {sampler.name: sampler for sampler in _SAMPLERS}
