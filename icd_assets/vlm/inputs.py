"""Prompts as model inputs, for any chat VLM: the processor does everything, batch by batch.

Models take this path that cannot take features computed before (:mod:`icd_assets.vlm.image_features`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from icd_assets.vlm.images import read_images

Side = Literal["left", "right"]


@dataclass(frozen=True, slots=True)
class Row:
    """One text to feed, rendered and tokenized, with the images it refers to."""

    text: str
    ids: tuple[int, ...]
    images: tuple[Path, ...]


def special_tokens(processor: Any, texts: Sequence[str]) -> dict[str, bool]:
    """A template that begins with the tokenizer's own first token must not get it twice (Idefics3)."""
    first = processor.tokenizer.bos_token
    return {"add_special_tokens": not (first and texts[0].startswith(first))}


class Inputs(Protocol):
    """Turns prompts into rows, and rows into batches."""

    processor: Any

    def rows(self, texts: Sequence[str], images: Sequence[tuple[Path, ...]]) -> list[Row]: ...

    def width(self, row: Row) -> int:
        """Rows of different width never share a batch; 0 if any two may."""
        ...

    def prompts(self, rows: Sequence[Row]) -> dict[str, Any]:
        """``generate`` arguments, left padded: input_ids [B, L]."""
        ...

    def scored(self, rows: Sequence[Row]) -> tuple[dict[str, Any], list[int]]:
        """``forward`` arguments, right padded, and per row the number of tokens before its last one."""
        ...


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

    def width(self, row: Row) -> int:
        return 0

    def prompts(self, rows: Sequence[Row]) -> dict[str, Any]:
        return self._processed(rows, "left")

    def scored(self, rows: Sequence[Row]) -> tuple[dict[str, Any], list[int]]:
        inputs = self._processed(rows, "right")
        lengths: Tensor = inputs["attention_mask"].sum(dim=1)  # [B]
        return inputs, [length - 1 for length in lengths.tolist()]

    def _processed(self, rows: Sequence[Row], side: Side) -> dict[str, Any]:
        texts = [row.text for row in rows]
        images = read_images(path for row in rows for path in row.images)
        batch = self.processor(
            text=texts,
            images=[list(islice(images, len(row.images))) for row in rows],
            padding=True,
            padding_side=side,
            return_tensors="pt",
            **special_tokens(self.processor, texts),
        )
        return {
            name: value.to(self._device, self._dtype if value.is_floating_point() else None)
            for name, value in batch.items()
        }
