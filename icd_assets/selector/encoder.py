"""CLIP as the selector's eyes: one vector per item, from its image and its question (SPEC E.3).

An item's embedding is the mean of its L2-normalized image projection and its L2-normalized question
projection, L2-normalized again. Answers are never encoded, and neither are captions: a caption query has no
question, so its image stands for both.

Deviations from upstream:
1. A question longer than the text tower's positions is cut, which is logged; upstream would crash.
2. Images go through the Pillow image processor on every machine, so that features do not depend on whether
   torchvision is installed.
3. A checkpoint's towers are loaded strictly (O.2-1).
4. Upstream's encoder takes an item's gold caption for its text, which a query at inference does not have.

On a CPU one thread computes a whole batch, and several batches are computed side by side: so the bytes do not
depend on how many threads there are.

Legend: n items, D projection size, L tokens.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize
from transformers import (
    AutoImageProcessor,
    AutoTokenizer,
    CLIPTextModelWithProjection,
    CLIPVisionModelWithProjection,
)

from icd_assets.datasets.vqa import images_of, questions_of
from icd_assets.errors import UserError
from icd_assets.runtime.foreign import brief, first_line, printable
from icd_assets.runtime.prefetch import prefetch
from icd_assets.runtime.progress import OnProgress, counting, ignore
from icd_assets.runtime.threads import one_thread
from icd_assets.selector.encoded_parts import EncodedParts, encoded_in_parts
from icd_assets.vlm.cpu import tune_cpu
from icd_assets.vlm.images import read_images
from icd_assets.vlm.model import pretrained
from icd_assets.vlm.processor import read_config
from icd_assets.vlm.weight_headers import require_tokenizer
from icd_assets.vlm.weights import locate

if TYPE_CHECKING:
    from PIL.Image import Image

    from icd_assets.datasets.vqa import VqaItem

# Member names of upstream's adapter, hence prefixes in its checkpoints.
TEXT_PREFIX = "sen_model."
IMAGE_PREFIX = "img_model."

Content = TypeVar("Content")

_ROWS = 1 << 16
_AT_ONCE = 8  # batches of 64 images in memory: 0.15 GB each in CLIP ViT-B/32

_log = logging.getLogger(__name__)


class ClipEncoder:
    """Both towers of a CLIP model, frozen, in float32.

    >>> encoder = ClipEncoder.load("openai/clip-vit-base-patch32")
    >>> encoder.encode(items).shape
    torch.Size([n, 512])
    """

    def __init__(self, text: Any, image: Any, tokenizer: Any, image_processor: Any) -> None:
        self._text = text.eval().requires_grad_(False)
        self._image = image.eval().requires_grad_(False)
        self._tokenizer = tokenizer
        self._image_processor = image_processor

    @classmethod
    def load(cls, path: str, *, revision: str | None = None, device: str = "cpu") -> ClipEncoder:
        """A local folder or a hub id, with weights."""
        folder = locate(path, revision)
        text, image = (pretrained(tower, folder, torch.float32, config=config) for tower, config in towers(folder))
        return cls._assembled(text, image, folder, device)

    @classmethod
    def from_state(
        cls, state: Mapping[str, Tensor], path: str, *, revision: str | None = None, device: str = "cpu"
    ) -> ClipEncoder:
        """Weights from a v2 checkpoint's ``sen_model.*`` and ``img_model.*``; the rest from ``path``.

        Other keys of ``state`` are not looked at. Raises ``UserError`` if a tower's tensor is missing, too
        many or misshapen.
        """
        folder = locate(path, revision)
        (text_class, text_config), (image_class, image_config) = towers(folder)
        text, image = text_class(text_config), image_class(image_config)
        _load_strictly(text, state, TEXT_PREFIX, folder)
        _load_strictly(image, state, IMAGE_PREFIX, folder)
        return cls._assembled(text, image, folder, device)

    @classmethod
    def of_checkpoint(
        cls, towers: Mapping[str, Tensor], path: str, *, revision: str | None = None, device: str = "cpu"
    ) -> ClipEncoder:
        """The encoder of a v2 checkpoint; one without towers (a converted file) means the one at ``path``."""
        if not towers:
            return cls.load(path, revision=revision, device=device)
        return cls.from_state(towers, path, revision=revision, device=device)

    @classmethod
    def _assembled(cls, text: Any, image: Any, folder: Path, device: str) -> ClipEncoder:
        tune_cpu()
        return cls(text.to(device), image.to(device), *readers(folder))

    @property
    def dim(self) -> int:
        """D."""
        return int(self._text.config.projection_dim)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over weights, tokenizer and image processor."""
        sha = hashlib.sha256()
        for name, tensor in sorted(self.state_dict().items()):
            sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            sha.update(tensor.contiguous().numpy().tobytes())
        tokenizer = json.loads(self._tokenizer.backend_tokenizer.to_str())
        # Both are set by the first batch that is tokenized: the digest must not depend on what was encoded before.
        state = {key: value for key, value in tokenizer.items() if key not in ("truncation", "padding")}
        sha.update(json.dumps(state, sort_keys=True).encode())
        sha.update(json.dumps(self._image_processor.to_dict(), sort_keys=True, default=str).encode())
        return sha.hexdigest()

    def state_dict(self) -> dict[str, Tensor]:
        """The towers' tensors on the CPU under the names of a v2 checkpoint."""
        towers = ((TEXT_PREFIX, self._text), (IMAGE_PREFIX, self._image))
        return {
            prefix + name: tensor.cpu() for prefix, tower in towers for name, tensor in tower.state_dict().items()
        }

    def encode(
        self,
        items: Sequence[VqaItem],
        batch_size: int = 64,
        on_progress: OnProgress = ignore,
        keep: EncodedParts | None = None,
    ) -> Tensor:
        """Embeddings [n, D], L2-normalized, float32 on the CPU. ``keep``: where finished parts are found again."""
        text, image = self._features(items, batch_size, on_progress, keep)
        for start in range(0, len(text), _ROWS):  # in place, and in parts: VQAv2's take 0.9 GB each
            rows = slice(start, start + _ROWS)
            text[rows] = combine(text[rows], image[rows])
        return text

    def features(
        self,
        items: Sequence[VqaItem],
        batch_size: int = 64,
        on_progress: OnProgress = ignore,
        keep: EncodedParts | None = None,
    ) -> tuple[np.ndarray[Any, np.dtype[np.float32]], np.ndarray[Any, np.dtype[np.float32]]]:
        """(text [n, D], image [n, D]), each L2-normalized, for the similarity samplers (SPEC C).

        The text of an item without a question is its image.
        """
        text, image = self._features(items, batch_size, on_progress, keep)
        return text.numpy(), image.numpy()

    def text_features(
        self,
        questions: Sequence[str],
        batch_size: int = 64,
        on_progress: OnProgress = ignore,
        keep: EncodedParts | None = None,
    ) -> Tensor:
        """[n, D], L2-normalized; a question that recurs is encoded once."""

        def encode(texts: Sequence[str], report: OnProgress) -> Tensor:
            return self._encode_texts(texts, batch_size, report)

        return _once_each(questions, lambda each: encoded_in_parts(each, self.dim, encode, keep, on_progress))

    def image_features(
        self,
        images: Sequence[Path],
        batch_size: int = 64,
        on_progress: OnProgress = ignore,
        keep: EncodedParts | None = None,
    ) -> Tensor:
        """[n, D], L2-normalized; an image that recurs is encoded once."""

        def encode(paths: Sequence[str], report: OnProgress) -> Tensor:
            return self._encode_images([*map(Path, paths)], batch_size, report)

        paths = [*map(str, images)]
        return _once_each(paths, lambda each: encoded_in_parts(each, self.dim, encode, keep, on_progress))

    def _features(
        self, items: Sequence[VqaItem], batch_size: int, on_progress: OnProgress, keep: EncodedParts | None
    ) -> tuple[Tensor, Tensor]:
        every, images = questions_of(items), images_of(items)
        asked = [index for index, question in enumerate(every) if question]
        questions = [every[index] for index in asked]
        texts, total = len(set(questions)), len(set(questions)) + len(set(images))
        on_progress = counting(on_progress, "texts and pictures encoded")
        text = self.text_features(questions, batch_size, lambda done, _: on_progress(done, total), keep)
        image = self.image_features(images, batch_size, lambda done, _: on_progress(texts + done, total), keep)
        if len(asked) < len(items):
            text, of_questions = image.clone(), text
            text[asked] = of_questions
        return text, image

    def _encode_texts(self, texts: Sequence[str], batch_size: int, on_progress: OnProgress) -> Tensor:
        ids = self._token_ids(texts) if texts else []
        by_length = sorted(range(len(ids)), key=lambda index: len(ids[index]))

        def encoded(batch: list[int]) -> Tensor:
            padded = self._tokenizer.pad(
                {"input_ids": [ids[index] for index in batch]}, padding_side="right", return_tensors="pt"
            ).to(self._text.device)  # [B, L]
            return normalize(self._text(**padded).text_embeds.float(), dim=-1).cpu()

        batches = _batches(by_length, batch_size)
        return self._collected(encoded, batches, batches, on_progress)

    def _encode_images(self, paths: Sequence[Path], batch_size: int, on_progress: OnProgress) -> Tensor:
        def encoded(images: list[Image]) -> Tensor:
            pixels = self._image_processor(images=images, return_tensors="pt").to(self._image.device)
            return normalize(self._image(**pixels).image_embeds.float(), dim=-1).cpu()

        batches = _batches(range(len(paths)), batch_size)
        with closing(read_images(paths)) as images:
            read = (list(islice(images, len(batch))) for batch in batches)
            return self._collected(encoded, read, batches, on_progress)

    def _collected(
        self,
        encode: Callable[[Content], Tensor],
        inputs: Iterable[Content],
        batches: Sequence[Sequence[int]],
        on_progress: OnProgress,
    ) -> Tensor:
        """Features [n, D]: ``encode`` of each input gives the rows of its batch."""
        count, done = sum(map(len, batches)), 0
        features = torch.empty(count, self.dim)
        with closing(_side_by_side(encode, inputs, self._image.device)) as encoded:
            for batch, found in zip(batches, encoded, strict=True):
                features[batch] = found
                done += len(batch)
                on_progress(done, count)
        return features

    def _token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        limit = min(self._tokenizer.model_max_length, self._text.config.max_position_embeddings)
        tokens = self._tokenizer(list(texts), truncation=True, max_length=limit)
        if cut := [text for text, found in zip(texts, tokens.encodings, strict=True) if found.overflowing]:
            _log.warning(
                "%d questions are longer than CLIP's %d tokens and were cut, the first: %s",
                len(cut),
                limit,
                cut[0][:80],
            )
        ids: list[list[int]] = tokens["input_ids"]
        return ids


def combine(text: Tensor, image: Tensor) -> Tensor:
    """The items' embeddings [n, D] from their L2-normalized projections (SPEC E.3)."""
    return normalize((text + image) / 2, dim=-1)


def _once_each(contents: Sequence[Content], encode: Callable[[Sequence[Content]], Tensor]) -> Tensor:
    positions = {content: index for index, content in enumerate(dict.fromkeys(contents))}
    return encode(list(positions))[[positions[content] for content in contents]]


def _batches(indices: Sequence[int], size: int) -> list[list[int]]:
    return [list(indices[start : start + size]) for start in range(0, len(indices), size)]


def _side_by_side(
    encode: Callable[[Content], Tensor], inputs: Iterable[Content], device: torch.device
) -> Generator[Tensor, None, None]:
    """``encode`` of each input, in order; on a CPU as many at once as torch has threads, each on one."""

    def alone(given: Content) -> Tensor:
        with one_thread(device), torch.inference_mode():  # both are of the thread that computes
            return encode(given)

    workers = min(torch.get_num_threads(), _AT_ONCE) if device.type == "cpu" else 1
    if workers == 1:
        yield from map(alone, inputs)
        return
    with one_thread(), closing(prefetch(alone, inputs, workers=workers, ahead=workers)) as found:
        yield from found


def towers(folder: Path) -> list[tuple[Any, Any]]:
    """(class, config) of the text and of the image tower."""
    config = read_config(folder)
    if config.model_type != "clip":
        raise UserError(f"{folder} is a {brief(config.model_type)} model; encoders must be CLIP models.")
    for tower in (config.text_config, config.vision_config):
        tower.projection_dim = config.projection_dim  # the whole model's counts; a tower's may be left at 512
    return [
        (CLIPTextModelWithProjection, config.text_config),
        (CLIPVisionModelWithProjection, config.vision_config),
    ]


def readers(folder: Path) -> tuple[Any, Any]:
    """(tokenizer, image processor)"""
    require_tokenizer(folder)
    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False), AutoImageProcessor.from_pretrained(
            folder, backend="pil", trust_remote_code=False
        )
    except Exception as error:  # noqa: BLE001 - a tokenizer's parser raises nothing more special
        raise UserError(
            f"{folder}: its tokenizer or image processor cannot be loaded ({first_line(error)}); "
            "download it again."
        ) from None


def _load_strictly(tower: Any, state: Mapping[str, Tensor], prefix: str, folder: Path) -> None:
    tensors = {
        name.removeprefix(prefix): tensor
        for name, tensor in state.items()
        # A counter that transformers before 4.31 saved; not a weight.
        if name.startswith(prefix) and not name.endswith(".position_ids")
    }
    try:
        tower.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        first = printable(" ".join(line.strip() for line in str(error).splitlines()[1:2])[:300])
        raise UserError(
            f"the checkpoint's {prefix}* tensors are not those of the CLIP model {folder} ({first}); "
            "set the dataset's encoder to the one that the checkpoint was trained with."
        ) from None
    if wild := [name for name, tensor in tower.state_dict().items() if not torch.isfinite(tensor).all()]:
        raise UserError(f"the checkpoint's tensor {prefix}{wild[0]} holds numbers that are not finite.")
