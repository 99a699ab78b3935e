"""A vision-language model in this process, by transformers.

Deviations from upstream (SPEC G.4, D.1, G.6):
1. Decoding is ours alone: ``do_sample`` is False and nothing of the hub's generation_config but its end
   tokens applies, neither temperature nor repetition penalty (O.2-7).
2. An answer's likelihood covers exactly its tokens, found on the real token ids of prompt + answer (O.2-5).
   Where prompt and answer merge into one token, the likelihood starts with that token.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import takewhile
from pathlib import Path
from typing import Any

from icd_assets.errors import UserError
from icd_assets.runtime.foreign import brief
from icd_assets.runtime.threads import SMALL_MODEL, one_thread
from icd_assets.vlm.backend import Backend, Generation, HandOver, Question, Reply
from icd_assets.vlm.batches import ROWS, Batches
from icd_assets.vlm.branching_path import BranchingPath
from icd_assets.vlm.cached_inputs import CachedInputs
from icd_assets.vlm.chat import Chat
from icd_assets.vlm.cpu import tune_cpu
from icd_assets.vlm.decoding import Decoder
from icd_assets.vlm.image_features import why_not as why_no_features
from icd_assets.vlm.inputs import Asked, ProcessorInputs, Row
from icd_assets.vlm.kept_features import of_model as kept_features
from icd_assets.vlm.model import load_model
from icd_assets.vlm.plain_path import PlainPath
from icd_assets.vlm.prefix_states import why_not as why_no_states
from icd_assets.vlm.processor import load_processor
from icd_assets.vlm.prompts import Prompt, PromptStyle
from icd_assets.vlm.refusals import naming
from icd_assets.vlm.token_budget import tokens_at_once
from icd_assets.vlm.weights import Dtype, answers_digest, locate

_log = logging.getLogger(__name__)


class TransformersBackend(Backend):
    """Answers prompts with a chat VLM.

    >>> backend = TransformersBackend.load("Qwen/Qwen2.5-VL-3B-Instruct", digest=..., style=..., ...)
    """

    def __init__(
        self,
        model: Any,
        inputs: ProcessorInputs | CachedInputs,
        *,
        digest: str,
        style: PromptStyle,
        generation: Generation,
        batch_size: int | None,
        state_bytes: int = 1 << 30,
        exact: bool | None = None,
    ) -> None:
        super().__init__(digest=digest, style=style, generation=generation)
        self._model = model
        self._inputs = inputs
        self._chat = Chat(inputs.processor, style)
        decoder = Decoder(generation, model, inputs.processor.tokenizer)
        parameters = sum(weights.numel() for weights in model.parameters())
        small = parameters < SMALL_MODEL and model.device.type == "cpu"
        self._batches = Batches(batch_size or ROWS, small=small)
        self._path: PlainPath | BranchingPath
        if isinstance(inputs, CachedInputs):
            exact = model.device.type == "cpu" if exact is None else exact
            if batch_size is None and (tokens := tokens_at_once(model, state_bytes)) is not None:
                self._batches = Batches(math.inf, tokens, small=False)
            self._path = BranchingPath(model, inputs, decoder, self._batches, exact=exact, state_bytes=state_bytes)
        else:
            self._path = PlainPath(model, inputs, decoder, self._batches)

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
        batch_size: int | None = None,
        min_pixels: int | None = None,
        max_pixels: int | None = None,
        revision: str | None = None,
        feature_bytes: int = 1 << 30,
        state_bytes: int = 1 << 30,
        exact: bool | None = None,
        pictures: Path | None = None,
    ) -> TransformersBackend:
        """Load a local folder or a hub id.

        ``digest`` is that of the model's files; :attr:`digest` adds the dtype and the pixel limits to it.
        ``batch_size`` prompts go together at most; without it eight, or on a GPU as many as its memory takes
        (:mod:`icd_assets.vlm.token_budget`).
        ``feature_bytes`` bounds the kept image features, ``state_bytes`` the kept states of demonstrations that
        several prompts begin with; without features prompts take the plain path. ``pictures`` is a folder where
        features are kept for whoever loads the model next. ``exact`` gives a prompt the same
        bits whatever it is asked with, by less freedom in batches: the default on a CPU, and no use on a GPU,
        whose kernels depend on the batch.
        """
        tune_cpu()
        folder = locate(path, revision)
        processor = load_processor(folder, min_pixels=min_pixels, max_pixels=max_pixels)
        model = load_model(folder, dtype, device)
        inputs: ProcessorInputs | CachedInputs = ProcessorInputs(processor, model.device, model.dtype)
        if feature_bytes:
            if (reason := why_no_features(model) or why_no_states(model)) is None:
                answers = answers_digest(digest, dtype, min_pixels, max_pixels)
                kept = None if pictures is None else kept_features(pictures, model, answers)
                inputs = CachedInputs(processor, model, feature_bytes, kept)
            else:
                _log.warning(
                    "%s: prompts of model type %s are computed each by itself, several times slower: %s",
                    path,
                    model.config.model_type,
                    reason,
                )
        return cls(
            model,
            inputs,
            digest=answers_digest(digest, dtype, min_pixels, max_pixels),
            style=style,
            generation=generation,
            batch_size=batch_size,
            state_bytes=state_bytes,
            exact=exact,
        )

    def ask(self, questions: Sequence[Question], hand_over: HandOver[Reply]) -> None:
        with naming([question.prompt for question in questions]):
            for answers in self._path.run(self._asked(questions)):
                hand_over(answers)

    def _asked(self, questions: Sequence[Question]) -> list[Asked]:
        """Rows of prompts, and of prompts with the answers that are to be scored."""
        prompts = list(dict.fromkeys(question.prompt for question in questions))
        texts = {prompt: self._chat.text(prompt) for prompt in prompts}
        starts = dict(zip(prompts, self._rows(list(texts.values()), prompts), strict=True))
        scored = [question for question in questions if question.answer is not None]
        full = iter(
            self._rows(
                [texts[question.prompt] + str(question.answer) for question in scored],
                [question.prompt for question in scored],
            )
        )
        return [
            Asked(starts[question.prompt])
            if question.answer is None
            else _scored(starts[question.prompt], next(full), question)
            for question in questions
        ]

    def _rows(self, texts: Sequence[str], prompts: Sequence[Prompt]) -> list[Row]:
        with self._threads():  # the images go through the vision tower here
            return self._inputs.rows(texts, [prompt.images for prompt in prompts]) if texts else []

    def _threads(self) -> AbstractContextManager[None]:
        """A small model's numbers do not depend on how many threads there are; a large one needs them all."""
        return one_thread() if self._batches.small else nullcontext()


def _scored(prompt: Row, full: Row, question: Question) -> Asked:
    """``full`` is the row of the prompt and the answer; its likelihood starts where the two first differ."""
    if not (target := full.ids[_alike(prompt.ids, full.ids) :]):
        raise UserError(
            f"the answer {brief(question.answer)} to question_id {question.prompt.question_id} "
            f"({brief(question.prompt.question)}) has no tokens, so no likelihood; fix or leave out that "
            "annotation."
        )
    return Asked(full, target)


def _alike(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """How many tokens both begin with."""
    if one == other[: len(one)]:  # nearly always, and a comparison in C
        return len(one)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
