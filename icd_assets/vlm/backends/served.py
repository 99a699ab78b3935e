"""A model behind an OpenAI-compatible server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from icd_assets.errors import UserError
from icd_assets.runtime.finding import Finding
from icd_assets.store.digests import DigestCache
from icd_assets.vlm.backend import Backend, Generation
from icd_assets.vlm.backends.config import BackendConfig, Remember, look_again
from icd_assets.vlm.control_tokens import FAMILIES, control_tokens
from icd_assets.vlm.endpoint import Endpoint, require_client
from icd_assets.vlm.prompts import PromptStyle
from icd_assets.vlm.weights import locate

if TYPE_CHECKING:
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

    def open(self, *, digest: str, style: PromptStyle, generation: Generation, device: str) -> Backend:
        require_client()
        from icd_assets.vlm.endpoint_backend import EndpointBackend

        return EndpointBackend(self.endpoint, style=style, generation=generation)

    def glance(self, name: str) -> Finding | None:
        return None  # a server is asked when a cell needs it

    def check(
        self, name: str, style: PromptStyle, digests: DigestCache, remember: Remember = look_again
    ) -> Iterator[Finding]:
        require_client()
        failed: list[UserError] = []
        for url in self.endpoint.urls:
            try:
                yield self._look_at(name, self.endpoint.at(url))
            except UserError as error:
                failed.append(error)
        if len(failed) == len(self.endpoint.urls) and not self.endpoint.pinned:
            raise failed[0]
        todo = "the other servers are asked" if len(failed) < len(self.endpoint.urls) else _KEPT
        yield from (Finding("model", "warning", str(one), todo) for one in failed)

    def _look_at(self, name: str, server: Endpoint) -> Finding:
        """Raises ``UserError`` for one that a run cannot ask now."""
        from icd_assets.vlm.endpoint_client import Answered

        try:
            listed = asyncio.run(_lists_model(server))
        except Answered as error:
            if server.names_weights and not server.pinned:
                raise  # a run asks for the list as well
            return Finding("model", "warning", f"{name}: no list of models, which a run does not need: {error}")
        if listed:
            return Finding("model", "ok", f"{name}: served at {server.url} as {server.model}")
        text = f"{name}: the server at {server.url} is there, but lists no model {server.model}"
        return Finding(
            "model", "warning", text, "check the endpoint's model; some servers list only what they cached"
        )

    def workload(
        self, style: PromptStyle, generation: Generation, *, shots: int, question: str, image: tuple[int, int]
    ) -> Workload | None:
        return None


async def _lists_model(endpoint: Endpoint) -> bool:
    from icd_assets.vlm.endpoint_client import EndpointClient

    limits = {"retries": 0, "timeout_seconds": _SECONDS, "give_up_seconds": 2 * _SECONDS}
    async with EndpointClient(endpoint.model_copy(update=limits)) as client:
        return await client.served() is not None
