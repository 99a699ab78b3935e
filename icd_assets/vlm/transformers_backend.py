"""A vision-language model in this process, by transformers.

Deviations from upstream (SPEC G.4, D.1, G.6):
1. Decoding is ours alone: ``do_sample`` is False and nothing of the hub's generation_config but its end
   tokens applies, neither temperature nor repetition penalty (O.2-7).
2. An answer's likelihood covers exactly its tokens, found on the real token ids of prompt + answer (O.2-5).
   Where prompt and answer merge into one token, the likelihood starts with that token.
3. Prompts that feed the same tokens and images are computed once: the gold answers of one query share the
   forward pass up to their last token.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import groupby, takewhile
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from icd_assets.errors import UserError
from icd_assets.runtime.foreign import brief
from icd_assets.runtime.threads import SMALL_MODEL, one_thread, shared_out
from icd_assets.vlm.backend import Answer, Backend, Generation, HandOver, Likelihood
from icd_assets.vlm.cached_inputs import CachedInputs
from icd_assets.vlm.chat import Chat
from icd_assets.vlm.cpu import tune_cpu
from icd_assets.vlm.image_features import can_cache
from icd_assets.vlm.inputs import Inputs, ProcessorInputs, Row
from icd_assets.vlm.model import decoding_config, load_model
from icd_assets.vlm.processor import load_processor
from icd_assets.vlm.prompts import Prompt, PromptStyle
from icd_assets.vlm.refusals import naming
from icd_assets.vlm.weights import Dtype, answers_digest, locate

# With fewer rows BLAS takes another kernel, and a result's last bits would depend on the batch.
_LEAST_LOGITS = 8

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Job:
    """A row to compute, and the requests (positions in the caller's list) that it serves."""

    row: Row
    requests: list[int]


class TransformersBackend(Backend):
    """Answers prompts with a chat VLM.

    >>> backend = TransformersBackend.load("Qwen/Qwen2.5-VL-3B-Instruct", digest=..., style=..., ...)
    """

    def __init__(
        self,
        model: Any,
        inputs: Inputs,
        *,
        digest: str,
        style: PromptStyle,
        generation: Generation,
        batch_size: int,
    ) -> None:
        super().__init__(digest=digest, style=style, generation=generation)
        self.batch_size = batch_size
        self._model = model
        self._inputs = inputs
        self._tokenizer = inputs.processor.tokenizer
        self._chat = Chat(inputs.processor, style)
        # generate() fills what an explicit config leaves open from this one, so it must be ours as well.
        model.generation_config = self._decoding = decoding_config(generation, model, self._tokenizer)
        parameters = sum(weights.numel() for weights in model.parameters())
        self._small = parameters < SMALL_MODEL and model.device.type == "cpu"

    @classmethod
    def load(
        cls,
        path: str,
        *,
        digest: str,
        style: PromptStyle,
        generation: Generation,
        dtype: Dtype = "float32",
        device: str = "cpu",
        batch_size: int = 8,
        min_pixels: int | None = None,
        max_pixels: int | None = None,
        revision: str | None = None,
        feature_bytes: int = 1 << 30,
    ) -> TransformersBackend:
        """Load a local folder or a hub id.

        ``digest`` is that of the model's files; :attr:`digest` adds the dtype and the pixel limits to it.
        ``feature_bytes`` bounds the kept image features; 0 takes the plain path.
        """
        tune_cpu()
        folder = locate(path, revision)
        processor = load_processor(folder, min_pixels=min_pixels, max_pixels=max_pixels)
        model = load_model(folder, dtype, device)
        inputs: Inputs
        if feature_bytes and can_cache(model):
            inputs = CachedInputs(processor, model, feature_bytes)
        else:
            inputs = ProcessorInputs(processor, model.device, model.dtype)
        return cls(
            model,
            inputs,
            digest=answers_digest(digest, dtype, min_pixels, max_pixels),
            style=style,
            generation=generation,
            batch_size=batch_size,
        )

    def answer(self, prompts: Sequence[Prompt], hand_over: HandOver[str]) -> None:
        with naming(prompts):
            rows = self._rows(self._rendered(prompts), prompts)
            jobs = _merged(rows, key=lambda row: (row.ids, row.images))
            self._run(jobs, self._generate_batch, hand_over)

    def score(self, prompts: Sequence[Prompt], answers: Sequence[str], hand_over: HandOver[Likelihood]) -> None:
        with naming(prompts):
            self._score(prompts, answers, hand_over)

    def _score(self, prompts: Sequence[Prompt], answers: Sequence[str], hand_over: HandOver[Likelihood]) -> None:
        texts = self._rendered(prompts)
        starts = self._rows(texts, prompts)
        rows = self._rows([text + answer for text, answer in zip(texts, answers, strict=True)], prompts)
        targets = [_answer_tokens(*pair) for pair in zip(starts, rows, strict=True)]
        for prompt, answer, target in zip(prompts, answers, targets, strict=True):
            if not target:
                raise UserError(
                    f"the answer {brief(answer)} to question_id {prompt.question_id} ({brief(prompt.question)}) "
                    "has no tokens, so no likelihood; fix or leave out that annotation."
                )
        jobs = _merged(rows, key=lambda row: (row.ids[:-1], row.images))

        def compute(batch: Sequence[_Job]) -> list[list[Likelihood]]:
            return self._score_batch(batch, targets)

        self._run(jobs, compute, hand_over)

    def _rendered(self, prompts: Sequence[Prompt]) -> list[str]:
        return [self._chat.text(prompt) for prompt in prompts]

    def _rows(self, texts: Sequence[str], prompts: Sequence[Prompt]) -> list[Row]:
        with self._threads():  # the images go through the vision tower here
            return self._inputs.rows(texts, [prompt.images for prompt in prompts]) if texts else []

    def _threads(self) -> AbstractContextManager[None]:
        """A small model's numbers do not depend on how many threads there are; a large one needs them all."""
        return one_thread() if self._small else nullcontext()

    def _run(
        self,
        jobs: Sequence[_Job],
        compute: Callable[[Sequence[_Job]], list[list[Answer]]],
        hand_over: HandOver[Answer],
    ) -> None:
        """Batches hold rows of similar length and depend on ``jobs`` alone."""
        ordered = sorted(jobs, key=lambda job: (self._inputs.width(job.row), len(job.row.ids)))
        alike = [list(group) for _, group in groupby(ordered, key=lambda job: self._inputs.width(job.row))]
        for batch, computed in self._several(alike, compute) if self._small else self._one_by_one(alike, compute):
            answers: dict[int, Answer] = {}
            for job, found in zip(batch, computed, strict=True):
                answers.update(zip(job.requests, found, strict=True))
            hand_over(answers)

    def _several(
        self, alike: Sequence[Sequence[_Job]], compute: Callable[[Sequence[_Job]], list[list[Answer]]]
    ) -> Iterator[tuple[Sequence[_Job], list[list[Answer]]]]:
        """On a CPU as many batches of a small model at a time as there are threads."""
        size = self.batch_size
        batches = [jobs[start : start + size] for jobs in alike for start in range(0, len(jobs), size)]

        def computed(batch: Sequence[_Job]) -> tuple[Sequence[_Job], list[list[Answer]]]:
            with torch.inference_mode():  # holds for one thread
                return batch, compute(batch)

        return shared_out(computed, batches)

    def _one_by_one(
        self, alike: Sequence[Sequence[_Job]], compute: Callable[[Sequence[_Job]], list[list[Answer]]]
    ) -> Iterator[tuple[Sequence[_Job], list[list[Answer]]]]:
        for jobs in alike:
            waiting = jobs
            while waiting:
                batch = waiting[: self.batch_size]
                if (computed := self._unless_out_of_memory(batch, compute)) is not None:
                    waiting = waiting[len(batch) :]
                    yield batch, computed

    def _unless_out_of_memory(
        self, batch: Sequence[_Job], compute: Callable[[Sequence[_Job]], list[list[Answer]]]
    ) -> list[list[Answer]] | None:
        """The batch's results, or None after the batch size was halved."""
        try:
            with torch.inference_mode():
                return compute(batch)
        except torch.OutOfMemoryError:
            if len(batch) == 1:
                raise UserError(
                    f"the GPU's memory does not hold one prompt of {len(batch[0].row.ids)} tokens; lower the "
                    "model's max_pixels in the catalog, or free the GPU."
                ) from None
        # Outside the handler: the exception's traceback would keep the batch's tensors alive.
        torch.cuda.empty_cache()
        self.batch_size = len(batch) // 2
        _log.warning("out of GPU memory: the batch size is now %d", self.batch_size)
        return None

    def _generate_batch(self, batch: Sequence[_Job]) -> list[list[str]]:
        inputs = self._inputs.prompts([job.row for job in batch])
        output: Tensor = self._model.generate(  # [B, L + new]
            **inputs, generation_config=self._decoding, logits_processor=LogitsProcessorList([_Numbers()])
        )
        new = output[:, inputs["input_ids"].shape[1] :]
        texts = self._tokenizer.batch_decode(new, skip_special_tokens=True)
        return [[text] * len(job.requests) for job, text in zip(batch, texts, strict=True)]

    def _score_batch(self, batch: Sequence[_Job], targets: Sequence[tuple[int, ...]]) -> list[list[Likelihood]]:
        inputs, lengths = self._inputs.scored([job.row for job in batch])
        # The token at position p is predicted at p − 1: a row's n targets at [length − n, length).
        longest = [max(len(targets[request]) for request in job.requests) for job in batch]
        first = min(length - count for length, count in zip(lengths, longest, strict=True))
        first = max(0, min(first, max(lengths) - _LEAST_LOGITS))
        kept = torch.arange(first, max(lengths), device=self._model.device)
        output = self._model(**inputs, use_cache=False, logits_to_keep=kept)
        return [
            [_likelihood(logits, length - first, targets[request]) for request in job.requests]
            for job, length, logits in zip(batch, lengths, output.logits, strict=True)
        ]


def _likelihood(logits: Tensor, end: int, target: tuple[int, ...]) -> Likelihood:
    """``logits``: [P, V]; the ``target`` tokens are predicted by its positions before ``end``."""
    rows = logits[end - len(target) : end].float().log_softmax(dim=-1)
    picked = rows.gather(1, torch.tensor(target, device=rows.device)[:, None])[:, 0]
    if not math.isfinite(logprob := sum(picked.tolist())):
        raise _no_number()
    return Likelihood(logprob=logprob, tokens=len(target))


class _Numbers(LogitsProcessor):  # type: ignore[misc]
    """Ends the generation where scores are no numbers: transformers would take the first of them for the best."""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if scores.isnan().any():
            raise _no_number()
        return scores


def _no_number() -> UserError:
    return UserError(
        "the model computes scores that are no numbers, as its weights may in float16; set its dtype to bfloat16 "
        "or float32 in the catalog, or look at its weights."
    )


def _answer_tokens(prompt: Row, full: Row) -> tuple[int, ...]:
    """What ``full`` has after its longest common beginning with ``prompt``."""
    same = takewhile(lambda pair: pair[0] == pair[1], zip(prompt.ids, full.ids, strict=False))
    return full.ids[sum(1 for _ in same) :]


def _merged(rows: Sequence[Row], key: Callable[[Row], Hashable]) -> list[_Job]:
    jobs: dict[Hashable, _Job] = {}
    for index, row in enumerate(rows):
        jobs.setdefault(key(row), _Job(row, [])).requests.append(index)
    return list(jobs.values())
