"""A model whose weights are loaded in this process, by transformers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

from pydantic import Field

from icd_assets.errors import UserError
from icd_assets.runtime.device import OnRay
from icd_assets.runtime.finding import Finding
from icd_assets.store.digests import DigestCache, sha256_json
from icd_assets.vlm.backend import Backend, Generation
from icd_assets.vlm.backends.config import BackendConfig, Opening, PictureLimits, Remember, look_again
from icd_assets.vlm.control_tokens import control_tokens
from icd_assets.vlm.prompts import PromptStyle
from icd_assets.vlm.weight_headers import count_numbers, require_whole
from icd_assets.vlm.weights import Dtype, answers_digest, availability, locate, weights_digest

if TYPE_CHECKING:
    from icd_assets.vlm.memory import Workload


class InProcess(BackendConfig):
    """A local folder or a hub id, and how it is loaded; see :mod:`icd_assets.vlm.transformers_backend`."""

    loads_weights: ClassVar[bool] = True

    path: str = Field(min_length=1)
    revision: str | None = None
    dtype: Dtype = "bfloat16"
    batch_size: int | None = Field(
        None,
        gt=0,
        description="Prompts computed at once, at most; unset: on a GPU as many tokens as its memory takes, on a "
        "CPU 8 prompts.",
    )
    min_pixels: int | None = None
    max_pixels: int | None = None
    exact: bool | None = Field(
        None,
        description="Whether a prompt has the same bits whatever it is asked with; unset: on a CPU. false lets "
        "prompts of other lengths share a batch.",
    )

    @property
    def source(self) -> str:
        return self.path

    def settings(self, style: PromptStyle) -> dict[str, Any]:
        return {
            "dtype": self.dtype,
            "prompt": style.model_dump(),
            # What manifests kept of an unset one when it was a number; it decides the pace alone.
            "batch_size": 8 if self.batch_size is None else self.batch_size,
            "min_pixels": self.min_pixels,
            "max_pixels": self.max_pixels,
            **({} if self.exact is None else {"exact": self.exact}),  # manifests of before have none
        }

    def digest(self, digests: DigestCache, *, fetch: bool) -> str:
        return weights_digest(locate(self.path, self.revision, fetch=fetch), digests)

    def control_tokens(self, *, fetch: bool) -> frozenset[str]:
        return control_tokens(locate(self.path, self.revision, fetch=fetch))

    def require_decoding(self, generation: Generation) -> None:
        """transformers decodes in every way that ``generation`` can say."""

    def require_likelihoods(self, why: str) -> None:
        """Logits are at hand, so any answer can be scored."""

    def open(self, **how: Unpack[Opening]) -> Backend:
        from icd_assets.vlm.transformers_backend import TransformersBackend

        return TransformersBackend.load(
            str(locate(self.path, self.revision)),
            dtype=self.dtype,
            batch_size=self.batch_size,
            min_pixels=self.min_pixels,
            max_pixels=self.max_pixels,
            exact=self.exact,
            **how,
        )

    def open_in(self, places: Sequence[Mapping[str, str]] | OnRay, **how: Unpack[Opening]) -> Backend:
        from icd_assets.vlm.workers import Workers

        digest = answers_digest(how["digest"], self.dtype, self.min_pixels, self.max_pixels)
        style, generation = how["style"], how["generation"]
        if isinstance(places, OnRay):
            from icd_assets.vlm.ray_workers import on_ray

            opens = partial(self._open_elsewhere, digest=how["digest"], style=style, generation=generation)
            hire = partial(on_ray, places.number)
            return Workers(opens, hire, digest=digest, style=style, generation=generation)
        if len(places) < 2:
            return self.open(**how)
        from icd_assets.vlm.local_workers import on_this_machine

        hire = partial(on_this_machine, places)
        return Workers(partial(self.open, **how), hire, digest=digest, style=style, generation=generation)

    def _open_elsewhere(self, *, digest: str, **how: Any) -> Backend:
        """On a machine whose files may be others, and whose GPU is not the one that was held here."""
        import torch

        folder = locate(self.path, self.revision)
        with TemporaryDirectory() as kept:
            found = weights_digest(folder, DigestCache(Path(kept, "digests.json")))
        if found != digest:
            raise UserError(
                f"{folder} holds another model (digest {found[:16]}) than where the command runs ({digest[:16]}); "
                "share one folder of it, or pin it with revision."
            )
        return self.open(digest=digest, device="cuda:0" if torch.cuda.is_available() else "cpu", **how)

    def glance(self, name: str) -> Finding | None:
        return availability("model", name, self.path, self.revision)[1]

    def check(
        self, name: str, style: PromptStyle, digests: DigestCache, remember: Remember = look_again
    ) -> Iterator[Finding]:
        folder, finding = availability("model", name, self.path, self.revision)
        yield finding
        if folder is None:
            return
        require_whole(folder)
        digest = weights_digest(folder, digests)
        yield Finding("model", "ok", f"digest {digest[:16]}")
        key = ["model", self._reader(digest), style.model_dump()]
        yield from remember(key, lambda: self._works(folder, style))

    def _works(self, folder: Path, style: PromptStyle) -> Iterator[Finding]:
        from icd_assets.vlm.chat import Chat
        from icd_assets.vlm.model import require_image_text
        from icd_assets.vlm.processor import load_processor, read_config

        config = read_config(folder)
        require_image_text(config, folder)
        self._require_enough(folder, config)
        processor = load_processor(folder, min_pixels=self.min_pixels, max_pixels=self.max_pixels)
        Chat(processor, style)  # refuses a template that loses a part of such prompts
        yield Finding("model", "ok", f"{config.model_type} is supported, its processor and chat template work")

    def _require_enough(self, folder: Path, config: Any) -> None:
        """Weights of another model, or of a part of one, hold fewer numbers than the configuration asks for."""
        from icd_assets.vlm.memory import model_sizes

        held = count_numbers(folder)
        if held is None or getattr(config, "quantization_config", None) is not None:
            return
        try:
            asked = model_sizes(config).parameters
        except (AttributeError, KeyError, TypeError, ValueError):
            return  # a family that names its sizes in another way
        if held < asked:
            raise UserError(
                f"{folder}: the weights hold {held:,} of the {asked:,} numbers that config.json asks for; "
                "download the weights that belong to it."
            )

    def picture_limits(self, digests: DigestCache) -> PictureLimits | None:
        try:
            folder = locate(self.path, self.revision, fetch=False)
        except UserError:
            return None  # another check's finding

        def load() -> Callable[[tuple[int, int]], str | None]:
            from icd_assets.vlm.processor import load_processor, picture_refusal

            processor = load_processor(folder, min_pixels=self.min_pixels, max_pixels=self.max_pixels)
            return partial(picture_refusal, processor)

        return PictureLimits(sha256_json(self._reader(weights_digest(folder, digests))), load)

    def _reader(self, digest: str) -> list[Any]:
        """What decides how a prompt is read: the model's files, the package, the limits."""
        return [digest, version("transformers"), self.min_pixels, self.max_pixels]

    def workload(
        self, style: PromptStyle, generation: Generation, *, shots: int, question: str, image: tuple[int, int]
    ) -> Workload | None:
        from icd_assets.vlm.memory import Workload, model_sizes, prompt_size
        from icd_assets.vlm.processor import load_processor, read_config

        folder = locate(self.path, self.revision, fetch=False)
        config = read_config(folder)
        processor = load_processor(folder, min_pixels=self.min_pixels, max_pixels=self.max_pixels)
        try:
            sizes = model_sizes(config)
            prompt = prompt_size(processor, config, style, shots=shots, question=question, image=image)
        except (
            AttributeError,
            KeyError,
            TypeError,
            ValueError,
        ) as error:
            # a family that names its sizes in another way
            raise ValueError(f"a model of type {config.model_type} ({type(error).__name__}: {error})") from None
        return Workload(sizes, prompt, self.dtype, generation, self.batch_size)
