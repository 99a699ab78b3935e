"""A real backend without weights: it answers what the last demonstration answered."""

from __future__ import annotations

import math
from collections.abc import Sequence

from icd_assets.vlm.backend import ApartBackend, Generation, HandOver, Likelihood
from icd_assets.vlm.prompts import Prompt, PromptStyle


class CopyingBackend(ApartBackend):
    """Counts what it is asked. The likelihood of an answer is ½ if it would be given, else ⅛, per token."""

    def __init__(self, alone: str = "nothing") -> None:
        super().__init__(digest="copying", style=PromptStyle(), generation=Generation())
        self.alone = alone
        self.asked: list[Prompt] = []
        self.likelihoods: list[tuple[Prompt, str]] = []

    def answer(self, prompts: Sequence[Prompt], hand_over: HandOver[str]) -> None:
        self.asked += prompts
        hand_over({at: f"{self._answer(prompt)}, or so" for at, prompt in enumerate(prompts)})

    def score(self, prompts: Sequence[Prompt], answers: Sequence[str], hand_over: HandOver[Likelihood]) -> None:
        self.likelihoods += zip(prompts, answers, strict=True)
        found = []
        for prompt, answer in zip(prompts, answers, strict=True):
            probability = 0.5 if answer == self._answer(prompt) else 0.125
            found.append(Likelihood(2 * math.log(probability), 2))
        hand_over(dict(enumerate(found)))

    def _answer(self, prompt: Prompt) -> str:
        return prompt.shots[-1].answer if prompt.shots else self.alone
