"""A template that loses a part of the prompt is told before the first question is asked."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from icd_assets.errors import UserError
from icd_assets.vlm.chat import Chat
from icd_assets.vlm.prompts import Prompt, PromptStyle, Shot
from icd_assets_tests.worlds.tiny import CHAT_TEMPLATE, SPECIAL, qwen_tokenizer

TURNS = PromptStyle(layout="turns", question="{question}")
PROMPT = Prompt((Shot(Path("a"), "which?", "dog"),), Path("q"), "what color?")


def processor(template: str) -> Any:
    return SimpleNamespace(
        tokenizer=qwen_tokenizer(SPECIAL[1:]), chat_template=template, image_token="<|image_pad|>"
    )


def test_the_templates_own_text() -> None:
    text = Chat(processor(CHAT_TEMPLATE), PromptStyle(system="Be brief.")).text(PROMPT)
    image = "<|vision_start|><|image_pad|><|vision_end|>"
    assert text == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        f"<|im_start|>user\n{image}Question:which? Short answer:dog"
        f"{image}Question:what color? Short answer:<|im_end|>\n<|im_start|>assistant\n"
    )


PARTS = (
    "{% for c in m['content'] %}{% if c['type'] == 'image' %}<|image_pad|>{% else %}{{ c['text'] }}{% endif %}"
    "{% endfor %}"
)
ONLY_THE_LAST = "{% set m = messages[-1] %}" + PARTS
NO_SYSTEM = "{% for m in messages %}{% if m['role'] != 'system' %}" + PARTS + "{% endif %}{% endfor %}"
NO_IMAGES = "{% for m in messages %}{% for c in m['content'] %}{{ c['text'] }}{% endfor %}{% endfor %}"
ANSWERS_LAST = (
    "{% for m in messages %}{% if m['role'] == 'user' %}" + PARTS + "{% endif %}{% endfor %}"
    "{% for m in messages %}{% if m['role'] == 'assistant' %}" + PARTS + "{% endif %}{% endfor %}"
)
RAISES = "{{ raise_exception('Only user messages are supported') }}"


@pytest.mark.parametrize(
    ("template", "style", "sentence"),
    [
        (ONLY_THE_LAST, TURNS, r"does not show one <\|image_pad\|> per image"),
        (NO_IMAGES, TURNS, "does not show one"),
        (NO_SYSTEM, PromptStyle(system="Be brief."), "leaves out the system message"),
        (ANSWERS_LAST, TURNS, "leaves out or reorders texts of layout 'turns'"),
        (RAISES, TURNS, r"refuses layout 'turns' \(Only user messages are supported\)"),
        (RAISES, PromptStyle(system="x"), "refuses layout 'interleaved' with a system message"),
    ],
)
def test_a_template_that_cannot_show_the_prompt(template: str, style: PromptStyle, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        Chat(processor(template), style)
