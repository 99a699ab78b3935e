"""A smoke test: the model is asked a few questions of the cell, and its answers are shown beside the right ones.

What a run would find out after hours, that no answer is ever right, shows in seconds: a prompt in a wrong layout,
a model that does not see, a server with other weights. The questions are the evaluation's first, without
demonstrations, and the answers are kept: the run does not ask them again.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence

from icd_assets.datasets.vqa import VqaItem
from icd_assets.errors import UserError
from icd_assets.experiment.checks.look import Look
from icd_assets.runtime.device import lease
from icd_assets.runtime.finding import Finding
from icd_assets.runtime.locks import Holder
from icd_assets.scoring.rewards import knows_correct

QUESTIONS = 20
_SHOWN, _LETTERS = 3, 30
CHEAP = 200_000_000  # parameters: such a model is loaded and asked in seconds


class _Busy(Exception):
    """Who holds the GPU."""


def smoke(look: Look) -> Iterator[Finding]:
    """One line; a warning if no answer is right. Raises ``UserError`` for what a run would raise."""
    experiment = look.experiment
    validation = look.splits["validation"]
    items = [validation[row] for row in look.asked_rows[:QUESTIONS]]
    began = time.monotonic()
    try:
        raw, asked = _answers(look, items)
    except _Busy as busy:
        yield Finding("smoke", "ok", f"not asked: {busy}")
        return
    seconds = time.monotonic() - began
    metric = experiment.task.metric(items)
    answers = [metric.clean(text) for text in raw]
    scores = metric.scores(answers, [item.answers for item in items])
    right, mean = sum(score > 0 for score in scores), sum(scores) / len(scores)
    most, count = Counter(answers).most_common(1)[0]
    shown = ", ".join(
        f"{_quoted(answer)} (gold {_quoted(item.answer)})"
        for answer, item in list(zip(answers, items, strict=True))[:_SHOWN]
    )
    same = f", mostly {_quoted(most)} ({count} times)" if count > len(items) / 2 else ""
    kept = f", {asked} of them asked now" if asked < len(items) else ""
    judged = (
        f"answers {right} of {len(items)} right (accuracy {mean:.1%})"
        if knows_correct(experiment.reward)
        else f"{metric.name} {mean:.3f} over {len(items)} answers"
    )
    text = f"{judged}{same}, without demonstrations, in {seconds:.1f} s{kept}: {shown}"
    if right == 0:
        wrote = f"; it wrote {_quoted(raw[0])}" if raw[0] != answers[0] else ""
        todo = "look at the model's prompt and weights; a run of such answers ends at the check of rl_data"
        yield Finding("smoke", "warning", f"{text}{wrote}", todo)
    else:
        yield Finding("smoke", "ok", text)


def _answers(look: Look, items: Sequence[VqaItem]) -> tuple[list[str], int]:
    """(what the model writes, how many of them were not known)"""
    from icd_assets.vlm.answers import open_answers
    from icd_assets.vlm.cached_backend import CachedBackend
    from icd_assets.vlm.prompts import Prompt

    experiment, model = look.experiment, look.experiment.model

    def busy(sentence: str) -> None:
        raise _Busy(sentence)

    with lease(Holder("icd-assets doctor"), busy) as device:
        backend = model.backend.open(
            digest=model.backend.digest(experiment.store.digests, fetch=False),
            style=model.prompt,
            generation=model.generation,
            device=device,
        )
        with open_answers(experiment.store.answers) as store:
            cached = CachedBackend(backend, store)
            return cached.generate([Prompt.of(item, ()) for item in items]), cached.asked


def is_cheap(parameters: int | None) -> bool:
    """Whether a doctor may ask unasked; ``parameters``: None of a model that is not known."""
    return parameters is not None and parameters <= CHEAP


def possible(look: Look) -> bool:
    """Whether there is a model to ask, and a question."""
    if look.experiment.model.unsupported is not None or "validation" not in look.splits:
        return False
    try:
        return bool(look.asked_rows)
    except UserError:
        return False


def _quoted(text: str) -> str:
    flat = " ".join(text.split())
    if not flat:
        return "an empty answer"
    return repr(flat if len(flat) <= _LETTERS else f"{flat[:_LETTERS]}…")
