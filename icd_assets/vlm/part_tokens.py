"""Texts to tokens, part by part: what stands between the images of a prompt recurs in thousands of others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from icd_assets.vlm.inputs import special_tokens
from icd_assets.vlm.lru import ByteLru

_KEPT_TOKENS = 1 << 22
_PROBE = ("a b", "\nc ", " d", "e")


class PartTokens:
    """``processor.tokenizer`` of whole texts, each part between two image placeholders tokenized once.

    A fast tokenizer cuts a text at its added tokens before it does anything else, so parts are independent, unless
    it takes spaces beside such a token away, or puts something before the first part alone: then whole texts are
    tokenized.
    """

    def __init__(self, processor: Any) -> None:
        self._tokenizer = processor.tokenizer
        self._processor = processor
        self._image = str(processor.image_token)
        self._placeholder = int(self._tokenizer.convert_tokens_to_ids(self._image))
        self._known: ByteLru[tuple[str, bool], list[int]] = ByteLru(_KEPT_TOKENS, len)
        probe = self._image.join(_PROBE)
        self._in_parts = self._cuts() and self._by_parts([probe], special=True) == self._whole(
            [probe], special=True
        )

    def __call__(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text; an image is one placeholder."""
        special = special_tokens(self._processor, texts)["add_special_tokens"]
        return self._by_parts(texts, special) if self._in_parts else self._whole(texts, special)

    def _cuts(self) -> bool:
        token = self._tokenizer.added_tokens_decoder.get(self._placeholder)
        return (
            self._tokenizer.is_fast
            and token is not None
            and not (token.lstrip or token.rstrip or token.single_word)
        )

    def _whole(self, texts: Sequence[str], special: bool) -> list[list[int]]:
        ids: list[list[int]] = self._tokenizer(list(texts), add_special_tokens=special)["input_ids"]
        return ids

    def _by_parts(self, texts: Sequence[str], special: bool) -> list[list[int]]:
        cut = [text.split(self._image) for text in texts]
        first = self._ids([parts[0] for parts in cut], special)
        others = self._ids([part for parts in cut for part in parts[1:]], False)
        found = []
        for parts in cut:
            ids = list(first[parts[0]])
            for part in parts[1:]:
                ids.append(self._placeholder)
                ids += others[part]
            found.append(ids)
        return found

    def _ids(self, parts: Sequence[str], special: bool) -> dict[str, list[int]]:
        """The tokens of each part; ``special``: with those that the tokenizer puts around a text."""
        known = {part: self._known.find((part, special)) for part in dict.fromkeys(parts)}
        if missing := [part for part, ids in known.items() if ids is None]:
            for part, ids in zip(missing, self._whole(missing, special), strict=True):
                known[part] = ids
                self._known.keep((part, special), ids)
        return {part: ids for part, ids in known.items() if ids is not None}
