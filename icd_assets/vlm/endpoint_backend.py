"""A vision-language model behind an OpenAI-compatible server: vLLM, SGLang, `transformers serve` and others.

Requests run at once, as many as the catalog allows (:mod:`icd_assets.vlm.endpoint_pool`); each answer is handed
over when it comes.

What such a model *is* cannot be hashed from here. Its answers are known by the name of the model, the dialect
and the extra fields of requests (:attr:`Endpoint.identity`), and by
1. the pins, ``revision`` and ``weights_digest``, if the catalog has one: then they are trusted, and the same
   model at another address is never asked again;
2. without a pin, by what the server says it loaded under that name (``root`` of /v1/models, which vLLM and
   SGLang fill), so that other weights behind an old name are asked anew. `transformers serve` lists what lies in
   the hub's cache, which says nothing of what it loaded, and is not asked.
Artifacts are compared by the identity alone, so a plan needs no server.
Before the first prompt each server is asked which engine it runs (:mod:`icd_assets.vlm.endpoint_engine`). One that
the catalog does not declare, or another than its neighbour's, ends the run.

An answer's likelihood is read from vLLM's ``prompt_logprobs`` of prompt + answer, over exactly the answer's
tokens. How many these are is measured once per query and answer, without demonstrations: what follows the
longest common beginning of the prompt's token ids with and without the answer, as in
:mod:`icd_assets.vlm.transformers_backend`. With demonstrations the last tokens must be the very same.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import TypeVar

from icd_assets.errors import UserError
from icd_assets.runtime.interrupts import run_async
from icd_assets.store.digests import sha256_json
from icd_assets.vlm.backend import (
    ApartBackend,
    Generation,
    HandOver,
    HandOverEach,
    Likelihood,
    Question,
    Refused,
    Reply,
)
from icd_assets.vlm.data_url import data_url, with_urls
from icd_assets.vlm.endpoint import Endpoint
from icd_assets.vlm.endpoint_client import PAGE_SECONDS, EndpointClient, PromptRefused, Unavailable
from icd_assets.vlm.endpoint_engine import Engine, recorded, require_alike
from icd_assets.vlm.endpoint_pool import Task, ask_all
from icd_assets.vlm.endpoint_scores import OPEN_ENDED, SCORED, UNSCORED, answer_tokens, likelihood
from icd_assets.vlm.lru import ByteLru
from icd_assets.vlm.prompts import Message, Prompt, PromptStyle, messages
from icd_assets.vlm.refusals import in_words

_IMAGE_BYTES = 256 << 20
_UNKNOWN = "it does not say what"
_ROUNDS = 16  # of prompts that are asked at once, before all of them are waited for

_log = logging.getLogger(__name__)

Tail = tuple[Path, str, str]  # image, question and answer of a query
Result = TypeVar("Result")


class EndpointBackend(ApartBackend):
    """Answers prompts through a server.

    >>> EndpointBackend(entry.endpoint, style=entry.prompt, generation=entry.generation).generate(prompts)
    """

    def __init__(self, endpoint: Endpoint, *, style: PromptStyle, generation: Generation) -> None:
        super().__init__(digest=endpoint.digest, style=style, generation=generation)
        self.endpoint = endpoint
        self._decoding = endpoint.decoding(generation)
        self._images: ByteLru[Path, str] = ByteLru(_IMAGE_BYTES, len)
        self._tails: dict[Tail, list[int]] = {}
        self._asked_for = 0
        self._refused = 0
        self._engines: dict[str, Engine] = {}  # by address, of the servers that were asked for it
        self._all_met = False
        if not endpoint.pinned and endpoint.names_weights:
            self.digest = sha256_json([endpoint.digest, run_async(self._root())])
            run_async(self._meet_all())

    @property
    def environment(self) -> Mapping[str, str]:
        return recorded(self._engines.values())

    async def _meet_all(self) -> None:
        """Before the first prompt, ask each server for its engine. Raises ``UserError`` for one that is not to be
        asked anything; one that is away now is left to :meth:`_meet`."""
        quick = {"retries": 0, "timeout_seconds": min(PAGE_SECONDS, self.endpoint.timeout_seconds)}

        async def meet(url: str) -> None:
            with suppress(Unavailable):
                async with EndpointClient(self.endpoint.at(url).model_copy(update=quick)) as client:
                    self._engines[url] = await client.engine()

        await asyncio.gather(*map(meet, self.endpoint.urls))
        require_alike(self.endpoint, self._engines)
        self._all_met = True

    async def _meet(self, client: EndpointClient) -> None:
        if client.url not in self._engines:
            self._engines[client.url] = await client.engine()
            require_alike(self.endpoint, self._engines)

    async def _root(self) -> str | None:
        """What the servers loaded; one that cannot say so now is not asked at all. Raises ``UserError`` if they
        differ: answers would be of either."""
        roots: dict[str, str | None] = {}
        failed: list[Unavailable] = []
        for url in self.endpoint.urls:
            try:
                async with EndpointClient(self.endpoint.at(url)) as client:
                    served = await client.served()
            except Unavailable as error:
                failed.append(error)
            else:
                roots[url] = None if served is None else served.root
        if not roots:
            raise failed[0]
        for one in failed:
            _log.warning("%s Left out; the other servers are asked.", one)
        (url, root), *others = roots.items()
        for other, its_root in others:
            if its_root != root:
                raise UserError(
                    f"{url} serves {root or _UNKNOWN} as {self.endpoint.model}, but {other} serves "
                    f"{its_root or _UNKNOWN}; serve the same weights, or pin them with revision."
                )
        self.endpoint = self.endpoint.model_copy(
            update={"url": url, "replicas": tuple(other for other, _ in others)}
        )
        return root

    def answer(self, prompts: Sequence[Prompt], hand_over: HandOver[str]) -> None:
        self._asked_for += len(prompts)

        async def ask(client: EndpointClient, index: int) -> str:
            try:
                return await client.answer(self._messages(prompts[index]), self._decoding)
            except PromptRefused as refused:
                return self._skipped(prompts[index], refused)

        self._run(prompts, ask, hand_over)

    def ask_each(self, requests: Iterable[Sequence[Question]], hand_over: HandOverEach) -> None:
        """Several requests as one: at the end of each, servers wait for the slowest."""
        least = _ROUNDS * self.endpoint.concurrency * len(self.endpoint.urls)
        together: list[Question] = []
        places: list[tuple[int, int]] = []

        def share(answers: Mapping[int, Reply]) -> None:
            for index, answer in answers.items():
                number, at = places[index]
                hand_over(number, {at: answer})

        for number, questions in enumerate(requests):
            together += questions
            places += [(number, at) for at in range(len(questions))]
            if len(places) >= least:
                self.ask(together, share)
                together, places = [], []
        if places:
            self.ask(together, share)

    def _skipped(self, prompt: Prompt, refused: PromptRefused) -> Refused:
        """In place of an answer, as long as few prompts are refused."""
        share = self.endpoint.skip_refused
        self._refused += 1
        if self._refused <= share * self._asked_for:
            _log.warning("left out: %s: %s", in_words(prompt), refused)
            return Refused()
        bound = f" ({self._refused} of {self._asked_for} are, more than skip_refused {share:g})" if share else ""
        raise UserError(f"{in_words(prompt)} was refused{bound}: {refused}") from None

    def score(self, prompts: Sequence[Prompt], answers: Sequence[str], hand_over: HandOver[Likelihood]) -> None:
        self.endpoint.require_likelihoods("an answer's likelihood was asked for")
        tails = [(prompt.image, prompt.question, answer) for prompt, answer in zip(prompts, answers, strict=True)]
        self._measure(tails)

        async def ask(client: EndpointClient, index: int) -> Likelihood:
            try:
                reply = await client.chat(self._messages(prompts[index], answers[index]), SCORED)
            except PromptRefused as refused:
                raise UserError(f"{in_words(prompts[index])} was refused: {refused}") from None
            return likelihood(reply, self._tails[tails[index]])

        self._run(prompts, ask, hand_over)

    def _measure(self, tails: Sequence[Tail]) -> None:
        """Find the tokens of every answer that is not known yet."""
        missing = [tail for tail in dict.fromkeys(tails) if tail not in self._tails]

        prompts = [Prompt((), image, question) for image, question, _ in missing]

        async def tokens(client: EndpointClient, index: int) -> list[int]:
            _, question, answer = missing[index]
            alone = await client.chat(self._messages(prompts[index]), UNSCORED)
            answered = await client.chat(self._messages(prompts[index], answer), UNSCORED | OPEN_ENDED)
            return answer_tokens(alone, answered, question, answer)

        def keep(found: Mapping[int, list[int]]) -> None:
            self._tails |= {missing[index]: ids for index, ids in found.items()}

        self._run(prompts, tokens, keep)

    def _run(
        self, prompts: Sequence[Prompt], ask: Task[Result], hand_over: Callable[[Mapping[int, Result]], None]
    ) -> None:
        """``ask`` for every index of ``prompts``; the first failure ends the others."""

        async def met(client: EndpointClient, index: int) -> Result:
            await self._meet(client)
            return await ask(client, index)

        async def all_met() -> None:
            if prompts and not self._all_met:
                await self._meet_all()
            await ask_all(self.endpoint, _alike(prompts), met, hand_over)

        try:
            run_async(all_met())
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None

    def _messages(self, prompt: Prompt, answer: str | None = None) -> list[Message]:
        said = [with_urls(message, self._url) for message in messages(prompt, self.style)]
        return said if answer is None else [*said, {"role": "assistant", "content": answer}]

    def _url(self, path: Path) -> str:
        return self._images.get(path, lambda: data_url(path))


def _alike(prompts: Sequence[Prompt]) -> list[list[int]]:
    """The prompts' indices, those with the same first demonstration together and those that go on alike side by
    side: a server computes the beginning that they share once, if it keeps what it computed."""
    order = sorted(range(len(prompts)), key=lambda index: prompts[index].order)
    return [[*group] for _, group in groupby(order, key=lambda index: prompts[index].order[:1])]
