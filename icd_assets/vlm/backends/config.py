"""What the rest of the code asks of a kind of backend: all that depends on where a model's answers come from.

One of these is part of every model in the catalog, so nothing here imports torch, transformers or a client.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NotRequired, TypedDict, Unpack

from pydantic import BaseModel, ConfigDict

from icd_assets.runtime.device import OnRay
from icd_assets.runtime.finding import Finding
from icd_assets.store.digests import DigestCache
from icd_assets.vlm.backend import Backend, Generation
from icd_assets.vlm.prompts import PromptStyle

if TYPE_CHECKING:
    from pathlib import Path

    from icd_assets.vlm.memory import Workload


# Findings by a key, a JSON value that decides them, and by who looks if they are not known.
Remember = Callable[[Any, Callable[[], Iterable[Finding]]], Iterator[Finding]]


def look_again(key: Any, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """Remembers nothing."""
    yield from look()


@dataclass(frozen=True)
class PictureLimits:
    """Sizes that a processor takes. ``key`` names the processor; ``load`` gives ``(width, height) -> reason`` of a
    refusal, None for a size that is taken."""

    key: str
    load: Callable[[], Callable[[tuple[int, int]], str | None]]


class Opening(TypedDict):
    """How a backend is opened: ``digest`` is what :meth:`BackendConfig.digest` gave; ``pictures``, where there is
    one, a folder for what it makes of pictures, to be found by whoever opens it next."""

    digest: str
    style: PromptStyle
    generation: Generation
    device: str
    pictures: NotRequired[Path]


class BackendConfig(BaseModel, ABC):
    """One kind of backend as a model's catalog entry describes it; its fields are fields of that entry."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    loads_weights: ClassVar[bool]
    """Whether a process of this machine loads the model: then it takes a GPU, and is checked before a plan."""

    @property
    @abstractmethod
    def source(self) -> str:
        """What others call the model: a folder, a hub id, or the name under which a server knows it."""

    @abstractmethod
    def settings(self, style: PromptStyle) -> dict[str, Any]:
        """How the model is asked, besides decoding: in the config of all that it answers."""

    @abstractmethod
    def digest(self, digests: DigestCache, *, fetch: bool) -> str:
        """What the model is, as an input of all that it answers; needs no server.

        ``fetch``: what is not on this machine is downloaded. Raises ``UserError`` if it is not there.
        """

    @abstractmethod
    def control_tokens(self, *, fetch: bool) -> frozenset[str]:
        """The texts that the model does not read as text.

        ``fetch``: what is not on this machine is downloaded. Raises ``UserError`` if they cannot be known yet.
        """

    @abstractmethod
    def require_decoding(self, generation: Generation) -> None:
        """Raise ``UserError`` if the backend cannot decode so."""

    @abstractmethod
    def require_likelihoods(self, why: str) -> None:
        """Raise ``UserError``, which begins with ``why``, if the backend cannot score given answers."""

    @abstractmethod
    def open(self, **how: Unpack[Opening]) -> Backend:
        """The backend that answers."""

    def open_in(self, places: Sequence[Mapping[str, str]] | OnRay, **how: Unpack[Opening]) -> Backend:
        """:meth:`open`; what loads weights does it in a process of each of these environments, or on Ray."""
        return self.open(**how)

    @abstractmethod
    def glance(self, name: str) -> Finding | None:
        """Whether the model ``name`` is on this machine, None if that is no question. Nothing is downloaded.

        Raises ``UserError`` if it cannot be.
        """

    @abstractmethod
    def check(
        self, name: str, style: PromptStyle, digests: DigestCache, remember: Remember = look_again
    ) -> Iterator[Finding]:
        """What could stop a run that asks the model ``name``; raises ``UserError`` for a problem.

        ``remember`` has findings of before by the content that they are of.
        """

    def picture_limits(self, digests: DigestCache) -> PictureLimits | None:
        """Which pictures the model's processor takes; None if that cannot be known from here."""
        return None

    @abstractmethod
    def workload(
        self, style: PromptStyle, generation: Generation, *, shots: int, question: str, image: tuple[int, int]
    ) -> Workload | None:
        """What the largest prompts ask of this machine's memory; None if another machine has them.

        ``question``: the longest; ``image``: width and height of the largest, in pixels. Raises ``ValueError`` for
        a model that cannot be estimated.
        """
