"""A model behind an OpenAI-compatible server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

from icd_assets.errors import UserError
from icd_assets.runtime.finding import Finding
from icd_assets.store.digests import DigestCache
from icd_assets.vlm.backend import Backend, Generation
from icd_assets.vlm.backends.config import BackendConfig, Opening, Remember, look_again
from icd_assets.vlm.control_tokens import FAMILIES, control_tokens
from icd_assets.vlm.endpoint import Endpoint, require_client
from icd_assets.vlm.prompts import PromptStyle
from icd_assets.vlm.weights import locate

if TYPE_CHECKING:
    from icd_assets.vlm.endpoint_client import Answered
    from icd_assets.vlm.endpoint_engine import Engine
    from icd_assets.vlm.memory import Workload

_KEPT = "the run goes as far as the kept answers reach"
_SECONDS = 5.0  # a check does not wait for a server as a run does


class Served(BackendConfig):
    """Where the model is served, and under which name; see :mod:`icd_assets.vlm.endpoint_backend`."""

    loads_weights: ClassVar[bool] = False

    endpoint: Endpoint

    @property
    def source(self) -> str:
        return self.endpoint.model

    def settings(self, style: PromptStyle) -> dict[str, Any]:
        return {"prompt": style.model_dump(), "endpoint": self.endpoint.identity}

    def digest(self, digests: DigestCache, *, fetch: bool) -> str:
        return self.endpoint.digest

    def control_tokens(self, *, fetch: bool) -> frozenset[str]:
        """Those of the common families, and the model's own if the hub's cache has a model of the served name."""
        try:
            return FAMILIES | control_tokens(locate(self.source, fetch=False))
        except UserError:
            return FAMILIES

    def require_decoding(self, generation: Generation) -> None:
        self.endpoint.decoding(generation)

    def require_likelihoods(self, why: str) -> None:
        self.endpoint.require_likelihoods(why)

    def open(self, **how: Unpack[Opening]) -> Backend:
        require_client()
        from icd_assets.vlm.endpoint_backend import EndpointBackend

        return EndpointBackend(self.endpoint, style=how["style"], generation=how["generation"])

    def glance(self, name: str) -> Finding | None:
        return None  # a server is asked when a cell needs it

    def check(
        self, name: str, style: PromptStyle, digests: DigestCache, remember: Remember = look_again
    ) -> Iterator[Finding]:
        require_client()
        from icd_assets.vlm.endpoint_engine import require_alike

        failed: list[UserError] = []
        engines: dict[str, Engine] = {}
        for url in self.endpoint.urls:
            try:
                finding, engines[url] = self._look_at(name, self.endpoint.at(url))
                yield finding
            except UserError as error:
                failed.append(error)
        if len(failed) == len(self.endpoint.urls) and not self.endpoint.pinned:
            raise failed[0]
        todo = "the other servers are asked" if len(failed) < len(self.endpoint.urls) else _KEPT
        yield from (Finding("model", "warning", str(one), todo) for one in failed)
        require_alike(self.endpoint, engines)
        yield from self._to_declare(name, engines.values())

    def _look_at(self, name: str, server: Endpoint) -> tuple[Finding, Engine]:
        """Raises ``UserError`` for one that a run cannot ask now."""
        from icd_assets.vlm.endpoint_client import Answered

        listed, engine = asyncio.run(_asked(server))
        if isinstance(listed, Answered):
            if server.names_weights and not server.pinned:
                raise listed  # a run asks for the list as well
            text = f"{name}: no list of models, which a run does not need: {listed}"
            return Finding("model", "warning", text), engine
        if listed:
            text = f"{name}: served at {server.url} as {server.model}, by {engine.described}"
            return Finding("model", "ok", text), engine
        text = f"{name}: the server at {server.url} is there, but lists no model {server.model}"
        todo = "check the endpoint's model; some servers list only what they cached"
        return Finding("model", "warning", text, todo), engine

    def _to_declare(self, name: str, engines: Iterable[Engine]) -> Iterator[Finding]:
        """What the catalog could say, so that answers of another engine are not taken for those of this one."""
        found = next((engine for engine in engines if engine.version is not None), None)
        fields = []
        if found is not None and self.endpoint.engine is None:
            fields.append(f"engine: {found}")
        if found is not None and found.deterministic and not self.endpoint.deterministic:
            fields.append("deterministic: true")
        if fields:
            text = f"{name}: the endpoint may declare {', '.join(fields)}"
            yield Finding("model", "ok", text, "do so before the first run, or all is asked anew")

    def workload(
        self, style: PromptStyle, generation: Generation, *, shots: int, question: str, image: tuple[int, int]
    ) -> Workload | None:
        return None


async def _asked(endpoint: Endpoint) -> tuple[bool | Answered, Engine]:
    """Whether the server lists the model, or its refusal to list any; and its engine."""
    from icd_assets.vlm.endpoint_client import Answered, EndpointClient

    limits = {"retries": 0, "timeout_seconds": _SECONDS, "give_up_seconds": 2 * _SECONDS}
    async with EndpointClient(endpoint.model_copy(update=limits)) as client:
        try:
            listed: bool | Answered = await client.served() is not None
        except Answered as error:
            listed = error
        return listed, await client.engine()
