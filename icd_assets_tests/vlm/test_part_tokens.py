"""Parts of texts against whole texts, with every family's tokenizer."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken

import icd_assets
from icd_assets.vlm.inputs import special_tokens
from icd_assets.vlm.part_tokens import PartTokens
from icd_assets.vlm.processor import load_processor
from icd_assets_tests.worlds.tiny_families import FAMILIES

PIECES = [
    "which?",
    " Short answer:",
    "\n",
    " ",
    "",
    "buzz",
    "<|im_end|>",
    "<end_of_utterance>",
    "\u00e9\u4e2d ",
    "  two",
]


def texts(processor: Any, count: int = 60) -> list[str]:
    rng = random.Random(0)
    pieces = [*PIECES, processor.image_token, processor.tokenizer.bos_token or ""]
    return ["".join(rng.choices(pieces, k=rng.randrange(12))) for _ in range(count)]


def whole(processor: Any, asked: list[str]) -> list[list[int]]:
    ids: list[list[int]] = processor.tokenizer(asked, **special_tokens(processor, asked))["input_ids"]
    return ids


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_parts_make_the_whole(family: str) -> None:
    processor = load_processor(FAMILIES[family]())
    tokens = PartTokens(processor)
    assert tokens._in_parts
    for asked in (texts(processor), texts(processor)[::-1]):
        assert tokens(asked) == whole(processor, asked)


def demo() -> Any:
    return load_processor(Path(icd_assets.__file__).parent / "demo" / "weights" / "tiny_vl")


def test_every_part_is_tokenized_once(monkeypatch: pytest.MonkeyPatch) -> None:
    processor = demo()
    tokens, image = PartTokens(processor), processor.image_token
    asked: list[list[str]] = []
    inner = tokens._whole
    monkeypatch.setattr(tokens, "_whole", lambda texts, special: asked.append([*texts]) or inner(texts, special))
    first = tokens([f"a{image}b{image}c", f"a{image}b{image}d"])
    assert first == whole(processor, [f"a{image}b{image}c", f"a{image}b{image}d"])
    tokens([f"a{image}d{image}c"])
    assert [sorted(parts) for parts in asked] == [["a"], ["b", "c", "d"]]


@pytest.mark.parametrize("kind", ["takes spaces away", "puts something before the first part"])
def test_a_tokenizer_whose_parts_depend_on_each_other_reads_whole_texts(kind: str) -> None:
    processor = demo()
    if kind == "takes spaces away":
        token = AddedToken(processor.image_token, lstrip=True, rstrip=True, special=True)
        processor.tokenizer.add_special_tokens({"additional_special_tokens": [token]})
    else:
        from tokenizers import normalizers

        processor.tokenizer.backend_tokenizer.normalizer = normalizers.Prepend("x")
    tokens = PartTokens(processor)
    assert tokens._in_parts == (kind != "takes spaces away")
    asked = [f"a {processor.image_token} b", "c"]
    assert tokens(asked) == whole(processor, asked)
