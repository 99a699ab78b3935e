"""The fast path: prompts are put together from images that were encoded before.

In a candidate pool the same few hundred images recur in tens of thousands of prompts. Besides the features that
:mod:`icd_assets.vlm.image_features` keeps, this path differs from the plain one in two things:

1. Rows that share a batch are padded to one width that each row's own length determines, and answers are
   scored right padded without a mask. On a CPU a row's numbers are then the same bits in every batch, so a
   resumed run equals an uninterrupted one (tested).
2. Where positions follow the images' grids (Qwen), ``get_rope_index`` computes them once per layout.

Legend: B rows, L tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, assert_never

import torch
from torch import Tensor

from icd_assets.vlm.image_features import Grid, ImageFeatures
from icd_assets.vlm.inputs import Row, Side, special_tokens
from icd_assets.vlm.lru import ByteLru

_POSITIONS_BYTES = 64 << 20


class CachedInputs:
    """Prompts as ``input_ids``, cached image features and, where they follow the images, ``position_ids``."""

    def __init__(self, processor: Any, model: Any, feature_bytes: int) -> None:
        self.processor = processor
        self._model = model
        self._features = ImageFeatures(processor, model, feature_bytes)
        self._image_token = int(model.config.image_token_id)
        self._placeholder = int(processor.tokenizer.convert_tokens_to_ids(processor.image_token))
        self._pad_token = int(processor.tokenizer.pad_token_id)
        self._positions: ByteLru[Any, Tensor] = ByteLru(_POSITIONS_BYTES, lambda positions: positions.nbytes)

    def rows(self, texts: Sequence[str], images: Sequence[tuple[Path, ...]]) -> list[Row]:
        """``ids`` are those that the model reads: an image token per row of its features."""
        ids = self.processor.tokenizer(list(texts), **special_tokens(self.processor, texts))["input_ids"]
        return [
            Row(text, self._widened(found, paths), paths)
            for text, found, paths in zip(texts, ids, images, strict=True)
        ]

    def width(self, row: Row) -> int:
        """The row's length rounded up by at most a sixteenth: few widths, little padding."""
        length = len(row.ids)
        step = 1 << max(0, length.bit_length() - 5)
        return -(-length // step) * step

    def prompts(self, rows: Sequence[Row]) -> dict[str, Any]:
        inputs, mask = self._padded([row.ids for row in rows], rows, "left")
        if "position_ids" in inputs:
            # Row 0 is what `generate` itself would put there: the plain count of tokens.
            count = (mask.cumsum(dim=1) - 1).clamp(min=0)
            inputs["position_ids"] = torch.cat([count[None], inputs["position_ids"]])  # [4, B, L]
        return {**inputs, "attention_mask": mask, "mm_encoder_outputs": self._outputs(rows)}

    def scored(self, rows: Sequence[Row]) -> tuple[dict[str, Any], list[int]]:
        """The last token is what is predicted last; it is not fed."""
        fed = [row.ids[:-1] for row in rows]
        inputs, _ = self._padded(fed, rows, "right")
        return {**inputs, "mm_encoder_outputs": self._outputs(rows)}, [len(row) for row in fed]

    def _widened(self, ids: Sequence[int], images: tuple[Path, ...]) -> tuple[int, ...]:
        places = iter([self._features.place(key) for key in self._features.keys(images)])
        widened: list[int] = []
        for token in ids:
            widened += next(places).ids if token == self._placeholder else [token]
        return tuple(widened)

    def _outputs(self, rows: Sequence[Row]) -> dict[str, Any]:
        return self._features.together([key for row in rows for key in self._features.keys(row.images)])

    def _padded(
        self, ids: Sequence[tuple[int, ...]], rows: Sequence[Row], side: Side
    ) -> tuple[dict[str, Tensor], Tensor]:
        """``input_ids`` [B, L], ``position_ids`` [3, B, L] where they follow grids, and the mask [B, L]; L is the
        width of every row."""
        size = len(rows), max(map(self.width, rows))
        tokens = torch.full(size, self._pad_token)
        mask = torch.zeros(size, dtype=torch.long)
        positions = torch.zeros(3, *size, dtype=torch.long) if self._features.have_grids else None
        for index, (row_ids, row) in enumerate(zip(ids, rows, strict=True)):
            span = _span(len(row_ids), size[1], side)
            tokens[index, span] = torch.tensor(row_ids)
            mask[index, span] = 1
            if positions is not None:
                positions[:, index, span] = self._positions_of(row_ids, row.images)
        device = self._model.device
        inputs = {"input_ids": tokens} if positions is None else {"input_ids": tokens, "position_ids": positions}
        return {name: tensor.to(device) for name, tensor in inputs.items()}, mask.to(device)

    def _positions_of(self, ids: tuple[int, ...], images: tuple[Path, ...]) -> Tensor:
        """[3, L]: time, height and width of every token."""
        grids = tuple(self._features.place(key).grid for key in self._features.keys(images))
        is_image = torch.tensor(ids) == self._image_token
        layout = (is_image.numpy().tobytes(), grids)
        return self._positions.get(layout, lambda: self._computed_positions(ids, is_image, grids))

    def _computed_positions(
        self, ids: tuple[int, ...], is_image: Tensor, grids: tuple[Grid | None, ...]
    ) -> Tensor:
        positions, _ = self._model.model.get_rope_index(
            torch.tensor([ids]), mm_token_type_ids=is_image.int()[None], image_grid_thw=torch.tensor(grids)
        )
        return positions[:, 0].to(torch.long)  # type: ignore[no-any-return]


def _span(length: int, width: int, side: Side) -> slice:
    """Where the tokens of a row stand that is padded on ``side``."""
    match side:
        case "left":
            return slice(width - length, width)
        case "right":
            return slice(0, length)
        case other:
            assert_never(other)
