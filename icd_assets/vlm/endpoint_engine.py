"""Which program answers behind an endpoint, as the server says it and as the catalog declares it.

What servers say of themselves, read in their source:
- vLLM: ``owned_by`` and ``max_model_len`` in /v1/models; its version at /version, beside /v1. Batch invariance
  (``VLLM_BATCH_INVARIANT``) shows only in development mode, so it can be declared and not checked.
- SGLang: the same in /v1/models; ``version`` and ``enable_deterministic_inference`` at /server_info, which was
  /get_server_info. That page has the server's key too, so nothing else of it is kept.
- others: ``max_model_len`` and ``owned_by``, if they fill them.
A text that is no name or version counts as not said.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from icd_assets.errors import UserError
from icd_assets.runtime.provenance import MODEL_SERVER
from icd_assets.vlm.endpoint import DECLARED_ENGINE, Endpoint

UNKNOWN = "unknown"
# What each writes into owned_by; elsewhere that is the model's owner.
_OWN_NAMES = {"vllm": "vllm", "sglang": "sglang", "llamacpp": "llama.cpp"}


@dataclass(frozen=True)
class Engine:
    """What one server says of itself; None where it says nothing."""

    name: str | None = None
    version: str | None = None
    max_model_len: int | None = None
    deterministic: bool | None = None

    @classmethod
    def of(cls, endpoint: Endpoint, listed: Mapping[str, Any], page: Mapping[str, Any]) -> Engine:
        """From the model's entry in /v1/models and the server's own page, both of which may hold anything."""
        version = page.get("version")
        owner, length = listed.get("owned_by"), listed.get("max_model_len")
        deterministic = page.get("enable_deterministic_inference")
        named = _OWN_NAMES.get(owner) if isinstance(owner, str) else None
        known = isinstance(version, str) and re.fullmatch(DECLARED_ENGINE, f"x=={version}") is not None
        return cls(
            name=named or (endpoint.server if known else None),
            version=version if known else None,
            max_model_len=length if type(length) is int and 0 < length < 2**53 else None,
            deterministic=deterministic if isinstance(deterministic, bool) else None,
        )

    def __str__(self) -> str:
        """``vllm==0.11.0``, as the catalog declares it; as much as is known."""
        if self.name is None:
            return UNKNOWN
        return self.name if self.version is None else f"{self.name}=={self.version}"

    @property
    def in_words(self) -> str:
        mode = "" if self.deterministic is None else f" {'with' if self.deterministic else 'without'} determinism"
        return f"{'an engine' if self.name is None else self}{mode}"

    @property
    def described(self) -> str:
        """All that is known, in words."""
        name = "an engine that it does not name" if self.name is None else self.in_words
        return name if self.max_model_len is None else f"{name}, max_model_len {self.max_model_len}"

    def differs(self, other: Engine) -> bool:
        """Where both say something."""
        pairs = (
            (self.name, other.name),
            (self.version, other.version),
            (self.deterministic, other.deterministic),
        )
        return any(None not in pair and pair[0] != pair[1] for pair in pairs)


def require_alike(endpoint: Endpoint, engines: Mapping[str, Engine]) -> None:
    """Raises ``UserError`` if one of the servers, by address, says that it is another engine than the catalog
    declares, or two say different things."""
    name, _, version = (endpoint.engine or "").partition("==")
    declared = Engine(name or None, version or None, deterministic=endpoint.deterministic or None)
    found = [(url, engines[url]) for url in endpoint.urls if url in engines]
    for url, engine in found:
        if declared.differs(engine):
            raise UserError(
                f"{url} says that it runs {engine.in_words} for {endpoint.model}, but the catalog declares "
                f"{declared.in_words}; serve that, or declare what is served (all is asked anew then)."
            )
    for at, (url, engine) in enumerate(found):
        for other_url, other in found[at + 1 :]:
            if engine.differs(other):
                raise UserError(
                    f"{url} runs {engine.in_words} for {endpoint.model}, but {other_url} runs {other.in_words}; "
                    "serve the model with the same engine and version everywhere."
                )


def recorded(engines: Iterable[Engine]) -> dict[str, str]:
    """For a manifest's environment: what the servers said."""
    every = [*engines]
    lengths, modes = ([getattr(engine, name) for engine in every] for name in ("max_model_len", "deterministic"))
    said = [
        sorted({str(engine) for engine in every}),
        sorted({str(length or UNKNOWN) for length in lengths}),
        sorted({str(mode).lower() for mode in modes if mode is not None}),
    ]
    return {name: ", ".join(texts) for name, texts in zip(MODEL_SERVER, said, strict=True) if texts}
