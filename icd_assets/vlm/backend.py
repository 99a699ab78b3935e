"""What a vision-language model must do for us, and how it decodes: the types every backend shares."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from icd_assets.runtime.progress import OnProgress, ignore
from icd_assets.vlm.prompts import Prompt, PromptStyle


class Generation(BaseModel):
    """Decoding, the same for rewards and evaluation (SPEC O.2-7). Sampling is never used.

    Defaults are upstream's ``configs/task/vqa.yaml`` (SPEC G.4). Whatever the model's own
    ``generation_config.json`` says about sampling or penalties does not apply.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_new_tokens: int = Field(5, gt=0, description="Longest answer, in tokens.")
    num_beams: int = Field(3, gt=0, description="Beams of the VLM's beam search; 1 is greedy decoding.")
    length_penalty: float = Field(
        0.0, description="Exponent of the length by which beam scores are divided; only used with beams."
    )
    min_new_tokens: int = Field(0, ge=0, description="Shortest answer, in tokens.")


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Teacher-forced probability of an answer given a prompt, over exactly the answer's tokens."""

    logprob: float
    """Sum of the tokens' natural log-probabilities."""
    tokens: int

    @property
    def probability(self) -> float:
        """P = exp(−CE), CE the mean negative log-likelihood per answer token (SPEC D.1)."""
        return math.exp(self.logprob / self.tokens)


Answer = TypeVar("Answer", str, Likelihood)
OnAnswers = Callable[[Mapping[int, Answer]], None]


def ignore_answers(answers: Mapping[int, object]) -> None:
    """The listener of those who wait for the whole list."""


class Backend(Protocol):
    """A model that answers prompts. The same prompts give the same answers, in the order asked.

    Answers are also handed to ``on_answers`` as they come, by their position in the caller's list: a whole
    batch at once if the model computes batches, so that who keeps them asks for the same batches again.
    """

    @property
    def digest(self) -> str:
        """Names everything that decides an answer besides prompt, style and decoding."""
        ...

    @property
    def style(self) -> PromptStyle: ...

    @property
    def generation(self) -> Generation: ...

    def generate(
        self,
        prompts: Sequence[Prompt],
        on_progress: OnProgress = ignore,
        on_answers: OnAnswers[str] = ignore_answers,
    ) -> list[str]:
        """The decoded answers, as the model wrote them (no post-processing)."""
        ...

    def answer_likelihoods(
        self,
        prompts: Sequence[Prompt],
        answers: Sequence[str],
        on_progress: OnProgress = ignore,
        on_answers: OnAnswers[Likelihood] = ignore_answers,
    ) -> list[Likelihood]:
        """Likelihood of ``answers[i]`` after ``prompts[i]``."""
        ...
