"""The fast path: prompts are put together from images that were encoded before.

In a candidate pool the same few hundred images recur in tens of thousands of prompts. A prompt goes in pieces that
continue from kept states (:mod:`icd_assets.vlm.prefix_states`): what is kept is left padded, what is fed right
padded, each to a width that a row's own length determines. Where positions follow the images' grids (Qwen),
``get_rope_index`` computes them once per layout.

Legend: B rows, L tokens, of which W kept and S fed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from icd_assets.errors import UserError
from icd_assets.runtime.foreign import brief
from icd_assets.vlm.image_features import Grid, ImageFeatures, Key
from icd_assets.vlm.inputs import Row
from icd_assets.vlm.kept_features import KeptFeatures
from icd_assets.vlm.lru import ByteLru
from icd_assets.vlm.part_tokens import PartTokens
from icd_assets.vlm.prefix_states import Beginning, Piece, State, cache_of

_POSITIONS_BYTES = 64 << 20


class CachedInputs:
    """Prompts as ``input_ids``, cached image features and, where they follow the images, ``position_ids``."""

    def __init__(self, processor: Any, model: Any, feature_bytes: int, kept: KeptFeatures | None = None) -> None:
        self.processor = processor
        self._model = model
        self._features = ImageFeatures(processor, model, feature_bytes, kept)
        self._image_token = int(model.config.image_token_id)
        self._placeholder = int(processor.tokenizer.convert_tokens_to_ids(processor.image_token))
        self._tokens = PartTokens(processor)
        self._pad_token = int(processor.tokenizer.pad_token_id)
        self._positions: ByteLru[Any, Tensor] = ByteLru(_POSITIONS_BYTES, lambda positions: positions.nbytes)

    def rows(self, texts: Sequence[str], images: Sequence[tuple[Path, ...]]) -> list[Row]:
        """``ids`` are those that the model reads: an image token per row of its features."""
        self._features.prepare(key for paths in images for key in self._features.keys(paths))
        found = zip(texts, self._tokens(texts), images, strict=True)
        return [self._row(text, ids, paths) for text, ids, paths in found]

    def _row(self, text: str, ids: Sequence[int], images: tuple[Path, ...]) -> Row:
        widened: list[int] = []
        spans, taken = [], 0
        for key in self._features.keys(images):
            at = ids.index(self._placeholder, taken)
            widened += ids[taken:at]
            start = len(widened)
            widened += self._features.place(key).ids
            spans.append((start, len(widened)))
            taken = at + 1
        if self._placeholder in ids[taken:]:
            raise UserError(
                f"the answer at the end of {brief(text[-60:])} holds the model's image token; remove it."
            )
        widened += ids[taken:]
        return Row(text, tuple(widened), images, tuple(spans))

    def beginnings(self, row: Row, end: int) -> list[Beginning]:
        """What ``row`` begins with: up to its second image, its third, and so on, and up to ``end``."""
        keys = self.keys(row)
        starts = [start for start, _ in row.spans]
        cuts = [*(start for start in starts[1:] if start < end), end]
        counts = [bisect_left(starts, cut) for cut in cuts]
        return [
            Beginning(row.ids[:cut], keys[:count], row.spans[:count])
            for cut, count in zip(cuts, counts, strict=True)
            if cut
        ]

    def keys(self, row: Row) -> tuple[Key, ...]:
        return tuple(self._features.keys(row.images))

    def width(self, length: int) -> int:
        """``length`` rounded up by at most a sixteenth, or to four: few widths, little padding."""
        step = max(4, 1 << max(0, length.bit_length() - 5))
        return -(-length // step) * step

    def fed(self, pieces: Sequence[Piece], states: Mapping[Beginning, State]) -> dict[str, Any]:
        """``forward`` arguments that continue from the states of what is before ``pieces``, right padded:
        input_ids [B, S]. All pieces begin a prompt, or none does."""
        size = len(pieces), max(self.width(len(piece.ids)) for piece in pieces)
        tokens = torch.full(size, self._pad_token)
        for row, piece in enumerate(pieces):
            tokens[row, : len(piece.ids)] = torch.tensor(piece.ids)
        inputs = {"input_ids": tokens, "position_ids": self._positions_of_pieces(pieces, size[1])}
        before = [piece.before for piece in pieces if piece.before]
        cache = DynamicCache()
        if before:
            width = max(self.width(len(one.ids)) for one in before)
            cache = cache_of([states[one] for one in before], width)
            inputs["attention_mask"] = _mask([len(one.ids) for one in before], width, size[1])
        return {**self._on_device(inputs), **self._encoded(pieces), "past_key_values": cache, "use_cache": True}

    def branched(self, pieces: Sequence[Piece], states: Mapping[Beginning, State], beams: int) -> dict[str, Any]:
        """``generate`` arguments that continue from the states of what is before ``pieces``, which are of one
        length and hold no image: input_ids [B, W + S], left padded."""
        before = [piece.before for piece in pieces if piece.before]
        width, fed = max(self.width(len(one.ids)) for one in before), len(pieces[0].ids)
        tokens = torch.full((len(pieces), width + fed), self._pad_token)
        for row, piece in enumerate(pieces):
            tokens[row, width - len(piece.whole.ids) + fed :] = torch.tensor(piece.whole.ids)
        mask = _mask([len(one.ids) for one in before], width, fed)
        inputs = {"input_ids": tokens, "attention_mask": mask}
        if self._features.have_grids:
            # Row 0 is what `generate` itself would put there: the plain count of tokens.
            count = (mask.cumsum(dim=1) - 1).clamp(min=0)
            positions = torch.zeros(3, *tokens.shape, dtype=torch.long)
            for row, piece in enumerate(pieces):
                positions[:, row, width - len(piece.whole.ids) + fed :] = self._positions_of(piece.whole)
            inputs["position_ids"] = torch.cat([count[None], positions])  # [4, B, W + S]
        return {
            **self._on_device(inputs),
            "past_key_values": cache_of([states[one] for one in before], width, beams),
        }

    def _on_device(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensor.to(self._model.device) for name, tensor in inputs.items()}

    def _encoded(self, pieces: Sequence[Piece]) -> dict[str, Any]:
        images = [key for piece in pieces for key in piece.images]
        return {"mm_encoder_outputs": self._features.together(images)} if images else {}

    def _positions_of_pieces(self, pieces: Sequence[Piece], width: int) -> Tensor:
        """[B, S], and [3, B, S] where positions follow grids."""
        if not self._features.have_grids:
            return torch.tensor([piece.start for piece in pieces])[:, None] + torch.arange(width)
        positions = torch.zeros(3, len(pieces), width, dtype=torch.long)
        for row, piece in enumerate(pieces):
            positions[:, row, : len(piece.ids)] = self._positions_of(piece.whole)[:, piece.start :]
        return positions

    def _positions_of(self, beginning: Beginning) -> Tensor:
        """[3, L]: time, height and width of every token."""
        grids = tuple(self._features.place(key).grid for key in beginning.images)
        layout = (len(beginning.ids), beginning.spans, grids)
        return self._positions.get(layout, lambda: self._computed_positions(beginning.ids, grids))

    def _computed_positions(self, ids: tuple[int, ...], grids: tuple[Grid | None, ...]) -> Tensor:
        tokens = torch.tensor([ids])
        positions, _ = self._model.model.get_rope_index(
            tokens,
            mm_token_type_ids=(tokens == self._image_token).int(),
            image_grid_thw=torch.tensor(grids),
        )
        return positions[:, 0].to(torch.long)  # type: ignore[no-any-return]


def _mask(before: Sequence[int], width: int, fed: int) -> Tensor:
    """[B, W + S]: of the kept tokens, left padded to ``width``, the last ``before[row]``; of those fed all, for
    what follows a token does not touch it."""
    mask = torch.ones(len(before), width + fed, dtype=torch.long)
    for row, length in enumerate(before):
        mask[row, : width - length] = 0
    return mask
