"""A vision-language model behind an OpenAI-compatible server: vLLM, SGLang, `transformers serve` and others.

Requests run at once, as many as the catalog allows; each answer is handed over when it comes.

What such a model *is* cannot be hashed from here. Its answers are known by the name of the model, the dialect
and the extra fields of requests (:attr:`Endpoint.identity`), and by
1. the pins, ``revision`` and ``weights_digest``, if the catalog has one: then they are trusted, and the same
   model at another address is never asked again;
2. without a pin, by what the server says it loaded under that name (``root`` of /v1/models, which vLLM and
   SGLang fill), so that other weights behind an old name are asked anew. `transformers serve` lists what lies in
   the hub's cache, which says nothing of what it loaded, and is not asked.
Artifacts are compared by the identity alone, so a plan needs no server.

An answer's likelihood is read from vLLM's ``prompt_logprobs`` of prompt + answer, over exactly the answer's
tokens. How many these are is measured once per query and answer, without demonstrations: what follows the
longest common beginning of the prompt's token ids with and without the answer, as in
:mod:`icd_assets.vlm.transformers_backend`. With demonstrations the last tokens must be the very same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from icd_assets.runtime.interrupts import run_async
from icd_assets.runtime.progress import OnProgress, ignore
from icd_assets.store.digests import sha256_json
from icd_assets.vlm.backend import Generation, Likelihood, OnAnswers, ignore_answers
from icd_assets.vlm.data_url import data_url
from icd_assets.vlm.endpoint import Endpoint
from icd_assets.vlm.endpoint_client import EndpointClient
from icd_assets.vlm.endpoint_scores import OPEN_ENDED, SCORED, UNSCORED, answer_tokens, likelihood
from icd_assets.vlm.lru import ByteLru
from icd_assets.vlm.prompts import Message, Prompt, PromptStyle, messages

_IMAGE_BYTES = 256 << 20

Tail = tuple[Path, str, str]  # image, question and answer of a query
Result = TypeVar("Result")
Task = Callable[[EndpointClient, int], Awaitable[Result]]


class EndpointBackend:
    """Answers prompts through a server; implements :class:`icd_assets.vlm.backend.Backend`.

    >>> EndpointBackend(entry.endpoint, style=entry.prompt, generation=entry.generation).generate(prompts)
    """

    def __init__(self, endpoint: Endpoint, *, style: PromptStyle, generation: Generation) -> None:
        self.endpoint = endpoint
        self.style = style
        self.generation = generation
        self._decoding = endpoint.decoding(generation)
        self._images: ByteLru[Path, str] = ByteLru(_IMAGE_BYTES, len)
        self._tails: dict[Tail, list[int]] = {}
        self.digest = endpoint.digest
        if not endpoint.pinned and endpoint.server != "transformers":
            self.digest = sha256_json([endpoint.digest, run_async(self._root())])

    async def _root(self) -> str | None:
        async with EndpointClient(self.endpoint) as client:
            served = await client.served()
        return served.root if served is not None else None

    def generate(
        self,
        prompts: Sequence[Prompt],
        on_progress: OnProgress = ignore,
        on_answers: OnAnswers[str] = ignore_answers,
    ) -> list[str]:
        async def answer(client: EndpointClient, index: int) -> str:
            return await client.answer(self._messages(prompts[index]), self._decoding)

        return self._run(len(prompts), answer, on_progress, on_answers)

    def answer_likelihoods(
        self,
        prompts: Sequence[Prompt],
        answers: Sequence[str],
        on_progress: OnProgress = ignore,
        on_answers: OnAnswers[Likelihood] = ignore_answers,
    ) -> list[Likelihood]:
        if len(prompts) != len(answers):
            raise ValueError(f"{len(prompts)} prompts but {len(answers)} answers")
        self.endpoint.require_likelihoods("an answer's likelihood was asked for")
        tails = [(prompt.image, prompt.question, answer) for prompt, answer in zip(prompts, answers, strict=True)]
        self._measure(tails)

        async def score(client: EndpointClient, index: int) -> Likelihood:
            reply = await client.chat(self._messages(prompts[index], answers[index]), SCORED)
            return likelihood(reply, self._tails[tails[index]])

        return self._run(len(prompts), score, on_progress, on_answers)

    def _measure(self, tails: Sequence[Tail]) -> None:
        """Find the tokens of every answer that is not known yet."""
        missing = [tail for tail in dict.fromkeys(tails) if tail not in self._tails]

        async def tokens(client: EndpointClient, index: int) -> list[int]:
            image, question, answer = missing[index]
            prompt = Prompt((), image, question)
            alone = await client.chat(self._messages(prompt), UNSCORED)
            answered = await client.chat(self._messages(prompt, answer), UNSCORED | OPEN_ENDED)
            return answer_tokens(alone, answered, question, answer)

        self._tails |= dict(zip(missing, self._run(len(missing), tokens), strict=True))

    def _run(
        self,
        total: int,
        one: Task[Result],
        on_progress: OnProgress = ignore,
        on_results: Callable[[Mapping[int, Result]], None] = ignore_answers,
    ) -> list[Result]:
        """``one`` for every index, in request order; the first failure ends the others."""
        try:
            return run_async(self._gathered(total, one, on_progress, on_results))
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _gathered(
        self,
        total: int,
        one: Task[Result],
        on_progress: OnProgress,
        on_results: Callable[[Mapping[int, Result]], None],
    ) -> list[Result]:
        results: dict[int, Result] = {}
        waiting = iter(range(total))

        async def work(client: EndpointClient) -> None:
            for index in waiting:
                results[index] = await one(client, index)
                on_results({index: results[index]})
                on_progress(len(results), total)

        async with EndpointClient(self.endpoint) as client, asyncio.TaskGroup() as workers:
            for _ in range(min(self.endpoint.concurrency, total)):
                workers.create_task(work(client))
        return [results[index] for index in range(total)]

    def _messages(self, prompt: Prompt, answer: str | None = None) -> list[Message]:
        said = [self._with_urls(message) for message in messages(prompt, self.style)]
        return said if answer is None else [*said, {"role": "assistant", "content": answer}]

    def _with_urls(self, message: Message) -> Message:
        content = message["content"]
        if isinstance(content, str):
            return message
        return message | {"content": [self._part(part) for part in content]}

    def _part(self, part: Message) -> Message:
        if part["type"] != "image":
            return part
        path = Path(part["image"])
        url = self._images.get(path, lambda: data_url(path))
        return {"type": "image_url", "image_url": {"url": url}}
