"""Prompts as model inputs, for any chat VLM: the processor does everything, batch by batch.

Models take this path that cannot take features computed before (:mod:`icd_assets.vlm.image_features`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor

from icd_assets.vlm.images import read_images
from icd_assets.vlm.processor import picture_refusal
from icd_assets.vlm.refusals import PictureRefused

Side = Literal["left", "right"]


@dataclass(frozen=True, slots=True)
class Row:
    """One text to feed, rendered and tokenized, with the images it refers to."""

    text: str
    ids: tuple[int, ...]
    images: tuple[Path, ...]
    spans: tuple[tuple[int, int], ...] = ()  # where among ``ids`` each image's tokens stand, if they are widened


@dataclass(frozen=True, slots=True)
class Asked:
    """What the model writes after ``row``; or how likely its last tokens are, ``target``."""

    row: Row
    target: tuple[int, ...] | None = None


def special_tokens(processor: Any, texts: Sequence[str]) -> dict[str, bool]:
    """A template that begins with the tokenizer's own first token must not get it twice (Idefics3)."""
    first = processor.tokenizer.bos_token
    return {"add_special_tokens": not (first and texts[0].startswith(first))}


class ProcessorInputs:
    """The plain path: images are read and encoded again for every batch."""

    def __init__(self, processor: Any, device: torch.device, dtype: torch.dtype) -> None:
        self.processor = processor
        self._device = device
        self._dtype = dtype

    def rows(self, texts: Sequence[str], images: Sequence[tuple[Path, ...]]) -> list[Row]:
        """``ids`` hold one placeholder per image; the processor widens it in the batch."""
        ids = self.processor.tokenizer(list(texts), **special_tokens(self.processor, texts))["input_ids"]
        return [Row(*row) for row in zip(texts, map(tuple, ids), images, strict=True)]

    def prompts(self, rows: Sequence[Row]) -> dict[str, Any]:
        """``generate`` arguments, left padded: input_ids [B, L]."""
        return self._processed(rows, "left")

    def scored(self, rows: Sequence[Row]) -> tuple[dict[str, Any], list[int]]:
        """``forward`` arguments, right padded, and per row the number of tokens before its last one."""
        inputs = self._processed(rows, "right")
        lengths: Tensor = inputs["attention_mask"].sum(dim=1)  # [B]
        return inputs, [length - 1 for length in lengths.tolist()]

    def _processed(self, rows: Sequence[Row], side: Side) -> dict[str, Any]:
        texts = [row.text for row in rows]
        read = read_images(path for row in rows for path in row.images)
        images = [list(islice(read, len(row.images))) for row in rows]
        try:
            batch = self.processor(
                text=texts,
                images=images,
                padding=True,
                padding_side=side,
                return_tensors="pt",
                **special_tokens(self.processor, texts),
            )
        except MemoryError:
            raise
        except Exception:
            self._require_taken(rows, images)
            raise
        return {
            name: value.to(self._device, self._dtype if value.is_floating_point() else None)
            for name, value in batch.items()
        }

    def _require_taken(self, rows: Sequence[Row], images: Sequence[Sequence[Image.Image]]) -> None:
        """Raise :class:`PictureRefused` for the first picture that the processor refuses by itself."""
        for row, own in zip(rows, images, strict=True):
            for path, image in zip(row.images, own, strict=True):
                if (reason := picture_refusal(self.processor, image.size)) is not None:
                    raise PictureRefused(path, reason)
