"""Every prompt by itself, from its first token to its last: what any chat VLM can do.

Prompts that feed the same tokens and images are computed once: the gold answers of one query share the forward
pass up to their last token.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from icd_assets.vlm.backend import Reply
from icd_assets.vlm.batches import Batches
from icd_assets.vlm.decoding import LEAST_ROWS, Decoder, likelihood
from icd_assets.vlm.inputs import Asked, ProcessorInputs, Row


@dataclass(frozen=True, slots=True)
class _Job:
    """A row to compute, and the positions in the caller's list that it serves."""

    row: Row
    requests: list[int]


class PlainPath:
    """Answers rows that :class:`ProcessorInputs` made."""

    def __init__(self, model: Any, inputs: ProcessorInputs, decoder: Decoder, batches: Batches) -> None:
        self._model = model
        self._inputs = inputs
        self._decoder = decoder
        self._batches = batches

    def run(self, asked: Sequence[Asked]) -> Iterator[Mapping[int, Reply]]:
        """Batch by batch the answers, by their position in ``asked``."""
        generated = [at for at, one in enumerate(asked) if one.target is None]
        scored = [at for at, one in enumerate(asked) if one.target is not None]
        yield from self._run(_merged(asked, generated, lambda row: row.ids), self._generated)
        yield from self._run(
            _merged(asked, scored, lambda row: row.ids[:-1]), lambda jobs: self._scored(jobs, asked)
        )

    def _run(
        self, jobs: Sequence[_Job], compute: Callable[[Sequence[_Job]], list[Mapping[int, Reply]]]
    ) -> Iterator[Mapping[int, Reply]]:
        """Batches hold rows of similar length."""
        ordered = sorted(jobs, key=lambda job: len(job.row.ids))
        # A picture is one token here, since the processor widens it: the batches have ``rows`` alone to go by
        # until the memory was full.
        for _, answers in self._batches.run([ordered], compute, _tokens):
            yield {at: answer for own in answers for at, answer in own.items()}

    def _generated(self, jobs: Sequence[_Job]) -> list[Mapping[int, Reply]]:
        inputs = self._inputs.prompts([job.row for job in jobs])
        texts = self._decoder.generated(self._model, inputs)
        return [dict.fromkeys(job.requests, text) for job, text in zip(jobs, texts, strict=True)]

    def _scored(self, jobs: Sequence[_Job], asked: Sequence[Asked]) -> list[Mapping[int, Reply]]:
        inputs, lengths = self._inputs.scored([job.row for job in jobs])
        # The token at position p is predicted at p − 1: a row's n targets at [length − n, length).
        targets = [{at: asked[at].target or () for at in job.requests} for job in jobs]
        longest = [max(map(len, own.values())) for own in targets]
        first = min(length - count for length, count in zip(lengths, longest, strict=True))
        first = max(0, min(first, max(lengths) - LEAST_ROWS))
        kept = torch.arange(first, max(lengths), device=self._model.device)
        logits: Tensor = self._model(**inputs, use_cache=False, logits_to_keep=kept).logits  # [B, P, V]
        return [
            {at: likelihood(rows, length - first, target) for at, target in own.items()}
            for own, length, rows in zip(targets, lengths, logits, strict=True)
        ]


def _tokens(jobs: Sequence[_Job]) -> int:
    return len(jobs) * max(len(job.row.ids) for job in jobs)


def _merged(asked: Sequence[Asked], positions: Sequence[int], fed: Callable[[Row], Hashable]) -> list[_Job]:
    jobs: dict[Hashable, _Job] = {}
    for at in positions:
        row = asked[at].row
        jobs.setdefault((fed(row), row.images), _Job(row, [])).requests.append(at)
    return list(jobs.values())
