"""A real backend without weights: it answers what the last demonstration answered."""

from __future__ import annotations

import math
from collections.abc import Sequence

from icd_assets.runtime.progress import OnProgress, ignore
from icd_assets.vlm.backend import Generation, Likelihood, OnAnswers, ignore_answers
from icd_assets.vlm.prompts import Prompt, PromptStyle


class CopyingBackend:
    """Counts what it is asked. The likelihood of an answer is ½ if it would be given, else ⅛, per token."""

    digest = "copying"
    style = PromptStyle()
    generation = Generation()

    def __init__(self, alone: str = "nothing") -> None:
        self.alone = alone
        self.asked: list[Prompt] = []
        self.likelihoods: list[tuple[Prompt, str]] = []

    def generate(
        self,
        prompts: Sequence[Prompt],
        on_progress: OnProgress = ignore,
        on_answers: OnAnswers[str] = ignore_answers,
    ) -> list[str]:
        self.asked += prompts
        on_progress(len(prompts), len(prompts))
        return [f"{self._answer(prompt)}, or so" for prompt in prompts]

    def answer_likelihoods(
        self,
        prompts: Sequence[Prompt],
        answers: Sequence[str],
        on_progress: OnProgress = ignore,
        on_answers: OnAnswers[Likelihood] = ignore_answers,
    ) -> list[Likelihood]:
        self.likelihoods += zip(prompts, answers, strict=True)
        found = []
        for prompt, answer in zip(prompts, answers, strict=True):
            probability = 0.5 if answer == self._answer(prompt) else 0.125
            found.append(Likelihood(2 * math.log(probability), 2))
        return found

    def _answer(self, prompt: Prompt) -> str:
        return prompt.shots[-1].answer if prompt.shots else self.alone
