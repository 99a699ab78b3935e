"""Tokenizers and image processors of the two tiny models, built from the demo world's words alone.

Every word of the world is one token; any other text falls back to bytes, so nothing is ever unknown.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

from tokenizers import pre_tokenizers
from transformers import CLIPTokenizer, Qwen2Tokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from icd_assets.demo.world import ANSWERS, COLOR_NAMES, PLACE_NAMES, SHAPES, all_wordings

PIXELS = 56  # both models look at 56×56 images
PATCH = 14
IMAGE_TOKENS = 4  # of tiny_vl: (56 / 14 / 2)²

QWEN_SPECIALS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
# Qwen2.5-VL's own template without its default system turn: tiny_vl never saw one.
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ '<|vision_start|><|image_pad|><|vision_end|>' }}"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def words() -> list[str]:
    """All words and marks of the world and of the chat form, sorted."""
    texts = [wording.text for wording in all_wordings()]
    texts += [answer for answers in ANSWERS.values() for answer in answers]
    texts += [*SHAPES, *COLOR_NAMES, *PLACE_NAMES, "a an the on in at with background"]
    texts += ["user assistant system question short answer . , : ?"]
    spaced = " ".join(texts)
    for mark in ",:?":
        spaced = spaced.replace(mark, f" {mark} ")
    return sorted(set(spaced.split()))


def qwen_tokenizer() -> Any:
    """A ``Qwen2Tokenizer`` with left padding and the chat template."""
    lexicon = [list(start + word) for word in words() for start in ("", "\u0120")]  # U+0120 is the byte of " "
    vocab, merges = _byte_pairs(lexicon, _byte_alphabet())
    tokenizer = Qwen2Tokenizer(
        vocab=vocab,
        merges=merges,
        unk_token=None,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(QWEN_SPECIALS[1:]),
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.padding_side = "left"
    return tokenizer


def clip_tokenizer() -> Any:
    """A ``CLIPTokenizer``: end-of-word byte pairs."""
    alphabet = _byte_alphabet()
    lexicon = [[*word[:-1], f"{word[-1]}</w>"] for word in words()]
    vocab, merges = _byte_pairs(lexicon, [*alphabet, *(f"{byte}</w>" for byte in alphabet)])
    for special in ("<|startoftext|>", "<|endoftext|>"):
        vocab[special] = len(vocab)
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=24)


def qwen_image_processor() -> Any:
    area = PIXELS * PIXELS
    return Qwen2VLImageProcessorPil(
        patch_size=PATCH,
        merge_size=2,
        temporal_patch_size=2,
        size={"shortest_edge": area, "longest_edge": area},
    )


def clip_image_processor() -> Any:
    return CLIPImageProcessorPil(size={"shortest_edge": PIXELS}, crop_size={"height": PIXELS, "width": PIXELS})


def _byte_alphabet() -> list[str]:
    """The 256 characters that stand for bytes in byte-level BPE."""
    return sorted(pre_tokenizers.ByteLevel.alphabet())


def _byte_pairs(lexicon: list[list[str]], alphabet: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Byte-pair encoding (Sennrich et al. 2016, alg. 1) learned until every word of the lexicon is whole.

    Not ``tokenizers``' trainer: with a word suffix its numbering changes from process to process.
    """
    merges: list[tuple[str, str]] = []
    while pairs := Counter(pair for word in lexicon for pair in pairwise(word)):
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        lexicon = [_merge(word, best) for word in lexicon]
    tokens = [*alphabet, *("".join(pair) for pair in merges)]
    return {token: index for index, token in enumerate(tokens)}, merges


def _merge(word: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    for symbol in word:
        if merged and (merged[-1], symbol) == pair:
            merged[-1] += symbol
        else:
            merged.append(symbol)
    return merged
