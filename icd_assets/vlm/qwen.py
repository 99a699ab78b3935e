"""The fast path of Qwen2-VL and Qwen2.5-VL: an image is looked at once, not once per prompt.

In a candidate pool the same few hundred images recur in tens of thousands of prompts. The vision tower's
output for an image depends on that image alone, so it is kept and handed to the model as
``mm_encoder_outputs``, transformers' own hook. What differs from the plain path:

1. Each image goes through the vision tower by itself, so its features never depend on its neighbours.
2. Rows that share a batch are padded to one width that each row's own length determines, and answers are
   scored right padded without a mask. On a CPU a row's numbers are then the same bits in every batch, so a
   resumed run equals an uninterrupted one (tested).
3. Position ids (``get_rope_index``) are computed once per layout of text and images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from icd_assets.vlm.images import read_image
from icd_assets.vlm.inputs import Row, Side
from icd_assets.vlm.lru import ByteLru

MODEL_TYPES = frozenset({"qwen2_vl", "qwen2_5_vl"})

_POSITIONS_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the vision tower makes of one image."""

    features: Tensor  # [T, H], one row per image token
    grid: tuple[int, int, int]  # patches in time, height, width


class QwenInputs:
    """Prompts as ``input_ids``, ``position_ids`` and kept image features."""

    def __init__(self, processor: Any, model: Any, feature_bytes: int) -> None:
        self.processor = processor
        self._model = model
        self._image_token = int(model.config.image_token_id)
        self._pad_token = int(processor.tokenizer.pad_token_id)
        self._seen: ByteLru[Path, _Seen] = ByteLru(feature_bytes, lambda seen: seen.features.nbytes)
        self._positions: ByteLru[Any, Tensor] = ByteLru(_POSITIONS_BYTES, lambda positions: positions.nbytes)

    def rows(self, texts: Sequence[str], images: Sequence[tuple[Path, ...]]) -> list[Row]:
        """``ids`` hold an image token per merged patch, as the model reads them."""
        ids = self.processor.tokenizer(list(texts))["input_ids"]
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
        ids, mask, positions = self._padded([row.ids for row in rows], rows, "left")
        text_positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        # Row 0 of the positions is what `generate` itself would put there: the plain count of tokens.
        positions = torch.cat([text_positions[None], positions])  # [4, B, L]
        return {
            "input_ids": ids,
            "attention_mask": mask,
            "position_ids": positions,
            "mm_encoder_outputs": self._features(rows),
        }

    def scored(self, rows: Sequence[Row]) -> tuple[dict[str, Any], list[int]]:
        """The last token is what is predicted last; it is not fed."""
        fed = [row.ids[:-1] for row in rows]
        ids, _, positions = self._padded(fed, rows, "right")
        inputs = {"input_ids": ids, "position_ids": positions, "mm_encoder_outputs": self._features(rows)}
        return inputs, [len(row) for row in fed]

    def _widened(self, ids: Sequence[int], images: tuple[Path, ...]) -> tuple[int, ...]:
        counts = iter([len(self._look(path).features) for path in images])
        widened: list[int] = []
        for token in ids:
            widened += [token] * next(counts) if token == self._image_token else [token]
        return tuple(widened)

    def _look(self, path: Path) -> _Seen:
        return self._seen.get(path, lambda: self._encoded(path))

    @torch.inference_mode()
    def _encoded(self, path: Path) -> _Seen:
        pixels = self.processor.image_processor(images=[read_image(path)], return_tensors="pt")
        grid = pixels["image_grid_thw"]  # [1, 3]
        output = self._model.get_image_features(
            pixels["pixel_values"].to(self._model.device, self._model.dtype), grid.to(self._model.device)
        )
        return _Seen(output.pooler_output[0], tuple(grid[0].tolist()))

    def _features(self, rows: Sequence[Row]) -> dict[str, Any]:
        features = [self._look(path).features for row in rows for path in row.images]
        return {"image": BaseModelOutputWithPooling(pooler_output=features)}

    def _padded(
        self, ids: Sequence[tuple[int, ...]], rows: Sequence[Row], side: Side
    ) -> tuple[Tensor, Tensor, Tensor]:
        """input_ids [B, L], attention_mask [B, L], position_ids [3, B, L]; L is the width of every row."""
        size = len(rows), max(map(self.width, rows))
        tokens = torch.full(size, self._pad_token)
        mask = torch.zeros(size, dtype=torch.long)
        positions = torch.zeros(3, *size, dtype=torch.long)
        for index, (row_ids, row) in enumerate(zip(ids, rows, strict=True)):
            start = size[1] - len(row_ids) if side == "left" else 0
            span = slice(start, start + len(row_ids))
            tokens[index, span] = torch.tensor(row_ids)
            mask[index, span] = 1
            positions[:, index, span] = self._positions_of(row_ids, row.images)
        device = self._model.device
        return tokens.to(device), mask.to(device), positions.to(device)

    def _positions_of(self, ids: tuple[int, ...], images: tuple[Path, ...]) -> Tensor:
        """[3, L]: time, height and width of every token."""
        grids = tuple(self._look(path).grid for path in images)
        is_image = torch.tensor(ids) == self._image_token
        layout = (is_image.numpy().tobytes(), grids)
        return self._positions.get(layout, lambda: self._computed_positions(ids, is_image, grids))

    def _computed_positions(
        self, ids: tuple[int, ...], is_image: Tensor, grids: tuple[tuple[int, int, int], ...]
    ) -> Tensor:
        positions, _ = self._model.model.get_rope_index(
            torch.tensor([ids]), mm_token_type_ids=is_image.int()[None], image_grid_thw=torch.tensor(grids)
        )
        return positions[:, 0].to(torch.long)  # type: ignore[no-any-return]
