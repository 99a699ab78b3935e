"""A random InternVL in the hub's ``-hf`` form: tiles and an overview, each between ``<img>`` and ``</img>``."""

from __future__ import annotations

import functools
import json
from pathlib import Path

from icd_assets_tests.worlds.tiny import qwen_tokenizer, root, save_random, vocab_size

SIDE = 28  # pixels of a tile; with patches of 7 and a ratio of 1/2 it is 4 tokens
_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for content in message['content'] %}{% if content['type'] == 'image' %}{{ '<IMG_CONTEXT>\n' }}"
    "{% elif content['type'] == 'text' %}{{ content['text'] }}{% endif %}{% endfor %}{% endif %}"
    "{{ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_NAMED = {
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "context_image_token": "<IMG_CONTEXT>",
    "video_token": "<video>",
}


@functools.cache
def tiny_internvl(seed: int = 0) -> Path:
    """A random ``InternVLForConditionalGeneration`` over Qwen2."""
    from transformers import InternVLConfig, InternVLForConditionalGeneration
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

    folder = root() / f"tiny_internvl_{seed}"
    tokenizer = qwen_tokenizer(["<|im_start|>", "<|im_end|>"], extra_special_tokens=_NAMED)
    tokenizer.save_pretrained(folder)
    GotOcr2ImageProcessorPil(
        size={"height": SIDE, "width": SIDE}, crop_to_patches=True, max_patches=4
    ).save_pretrained(folder)
    (folder / "processor_config.json").write_text(
        json.dumps({"processor_class": "InternVLProcessor", "image_seq_length": 4})
    )
    (folder / "chat_template.jinja").write_text(_TEMPLATE)
    config = InternVLConfig(
        text_config={
            "model_type": "qwen2",
            "vocab_size": vocab_size(tokenizer),
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 2048,
            "bos_token_id": tokenizer.pad_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
            "initializer_range": 0.2,
        },
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": [SIDE, SIDE],
            "patch_size": [7, 7],
            "initializer_range": 0.2,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
        tie_word_embeddings=False,
    )
    return save_random(InternVLForConditionalGeneration, config, folder, seed)
