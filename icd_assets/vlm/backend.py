"""What a vision-language model must do, and how it decodes: the types that every backend shares."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field

from icd_assets.runtime.progress import OnProgress, ignore
from icd_assets.vlm.prompts import Prompt, PromptStyle


class Generation(BaseModel):
    """Decoding, the same for rewards and evaluation (SPEC O.2-7). Sampling is never used.

    Defaults are upstream's ``configs/task/vqa.yaml`` (SPEC G.4). Whatever the model's own
    ``generation_config.json`` says about sampling or penalties does not apply.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

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


@dataclass(frozen=True, slots=True)
class Question:
    """What the model answers to ``prompt``; or how likely ``answer`` is after it."""

    prompt: Prompt
    answer: str | None = None


class Refused(str):
    """In place of an answer to a prompt that the server refused, where that may be: an empty text, never kept."""

    __slots__ = ()


Answer = TypeVar("Answer", bound=str | Likelihood)
Reply = str | Likelihood
# Takes answers as they come, by their position in the request: called once per batch that the model computed.
HandOver = Callable[[Mapping[int, Answer]], None]
# The same of several requests: which of them it was, from 0, then its answers.
HandOverEach = Callable[[int, Mapping[int, Reply]], None]


class Backend(ABC):
    """A model that answers prompts: the same prompts give the same answers.

    A backend implements ``ask``; who needs answers of one kind calls ``generate`` or ``answer_likelihoods``.

    >>> backend.generate([Prompt.of(query, icds)])
    ['a red dog']
    """

    def __init__(self, *, digest: str, style: PromptStyle, generation: Generation) -> None:
        self.digest = digest
        """Names everything that decides an answer besides prompt, style and decoding."""
        self.style = style
        self.generation = generation

    @abstractmethod
    def ask(self, questions: Sequence[Question], hand_over: HandOver[Reply]) -> None:
        """Hand over the reply to every question: the answer as the model wrote it (no post-processing), or the
        likelihood of the question's own. What is asked about one prompt should be asked together: a prompt is
        computed once.

        A batch is handed over as a whole as soon as it is there, so that who keeps it asks for the same batches
        again after a kill.
        """

    def ask_each(self, requests: Iterable[Sequence[Question]], hand_over: HandOverEach) -> None:
        """:meth:`ask` each request. The next one is taken only when there is somebody to work on it: here after
        the one before; several workers are at work on as many at once."""
        for number, questions in enumerate(requests):
            self.ask(questions, partial(hand_over, number))

    @property
    def environment(self) -> Mapping[str, str]:
        """What answered, besides ``digest``: for the record, in the environment of what is made of the answers."""
        return {}

    def close(self) -> None:  # noqa: B027 - most backends hold nothing
        """Give back what answering took besides memory; whoever asks again opens it again."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def replies(self, questions: Sequence[Question], on_progress: OnProgress = ignore) -> list[Reply]:
        """The replies, in the order asked."""
        collected = _Collected(len(questions), on_progress)
        self.ask(questions, collected.add)
        return collected.in_order()

    def generate(self, prompts: Sequence[Prompt], on_progress: OnProgress = ignore) -> list[str]:
        """The answers, in the order asked."""
        return cast("list[str]", self.replies([Question(prompt) for prompt in prompts], on_progress))

    def answer_likelihoods(
        self, prompts: Sequence[Prompt], answers: Sequence[str], on_progress: OnProgress = ignore
    ) -> list[Likelihood]:
        """The likelihoods of ``answers[i]`` after ``prompts[i]``, in the order asked."""
        if len(prompts) != len(answers):
            raise ValueError(f"{len(prompts)} prompts but {len(answers)} answers")
        questions = [Question(*asked) for asked in zip(prompts, answers, strict=True)]
        return cast("list[Likelihood]", self.replies(questions, on_progress))


class ApartBackend(Backend):
    """A backend that answers and scores in requests of their own, as a server does."""

    @abstractmethod
    def answer(self, prompts: Sequence[Prompt], hand_over: HandOver[str]) -> None:
        """Hand over the answer to every prompt."""

    @abstractmethod
    def score(self, prompts: Sequence[Prompt], answers: Sequence[str], hand_over: HandOver[Likelihood]) -> None:
        """Hand over the likelihood of ``answers[i]`` after ``prompts[i]``."""

    def ask(self, questions: Sequence[Question], hand_over: HandOver[Reply]) -> None:
        answered = [at for at, question in enumerate(questions) if question.answer is None]
        scored = [at for at, question in enumerate(questions) if question.answer is not None]
        if answered:
            self.answer([questions[at].prompt for at in answered], _at(answered, hand_over))
        if scored:
            answers = [questions[at].answer or "" for at in scored]
            self.score([questions[at].prompt for at in scored], answers, _at(scored, hand_over))


def _at(places: Sequence[int], hand_over: HandOver[Reply]) -> HandOver[Any]:
    return lambda answers: hand_over({places[at]: answer for at, answer in answers.items()})


class _Collected:
    """A request's answers as they come."""

    def __init__(self, total: int, on_progress: OnProgress) -> None:
        self._total = total
        self._on_progress = on_progress
        self._answers: dict[int, Reply] = {}

    def add(self, answers: Mapping[int, Reply]) -> None:
        self._answers |= answers
        self._on_progress(len(self._answers), self._total)

    def in_order(self) -> list[Reply]:
        if len(self._answers) != self._total:
            raise ValueError(f"the backend handed over {len(self._answers)} of {self._total} answers")
        return [self._answers[position] for position in range(self._total)]
