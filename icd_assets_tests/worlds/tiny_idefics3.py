"""Random Idefics3 and SmolVLM models: images cut into tiles and an overview; SmolVLM is Idefics3's successor.

Idefics3's tokenizer is Llama's: it sets ``<|begin_of_text|>`` itself, and so does its chat template.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from icd_assets_tests.worlds.tiny import TEXT, byte_pairs, root, save_random, vocab_size

TILE = 28  # pixels; with patches of 7 and a scale factor of 2 a tile is 4 tokens
# The families' own form: a content that is no list is not shown.
_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] | capitalize }}"
    "{% if message['content'][0]['type'] == 'image' %}{{ ':' }}{% else %}{{ ': ' }}{% endif %}"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{ line['text'] }}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
_SPECIAL = ["<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>"]
_GRID = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
_VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": TILE,
    "patch_size": 7,
    "initializer_range": 0.2,
}


@functools.cache
def tiny_idefics3(seed: int = 0) -> Path:
    """A random ``Idefics3ForConditionalGeneration``, with a beginning-of-text token."""
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration, Idefics3Processor
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

    folder = root() / f"tiny_idefics3_{seed}"
    tokenizer = _llama_tokenizer()
    images = Idefics3ImageProcessorPil(size={"longest_edge": 2 * TILE}, max_image_size={"longest_edge": TILE})
    template = "<|begin_of_text|>" + _TEMPLATE
    Idefics3Processor(images, tokenizer, image_seq_len=4, chat_template=template).save_pretrained(folder)
    config = Idefics3Config(**_parts(tokenizer), scale_factor=2)
    return save_random(Idefics3ForConditionalGeneration, config, folder, seed)


@functools.cache
def tiny_smolvlm(seed: int = 0) -> Path:
    """A random ``SmolVLMForConditionalGeneration``; its processor's files are written as the hub's are."""
    from transformers import GPT2Tokenizer, SmolVLMConfig, SmolVLMForConditionalGeneration
    from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

    folder = root() / f"tiny_smolvlm_{seed}"
    vocab, merges = byte_pairs(TEXT.split())
    tokenizer = GPT2Tokenizer(
        vocab=vocab,
        merges=merges,
        unk_token="<|endoftext|>",
        bos_token="<|im_start|>",
        eos_token="<end_of_utterance>",
        pad_token="<|im_end|>",
        additional_special_tokens=[*_SPECIAL, *_GRID],
    )
    tokenizer.save_pretrained(folder)
    SmolVLMImageProcessorPil(
        size={"longest_edge": 2 * TILE}, max_image_size={"longest_edge": TILE}
    ).save_pretrained(folder)
    (folder / "processor_config.json").write_text('{"processor_class": "SmolVLMProcessor", "image_seq_len": 4}')
    (folder / "chat_template.jinja").write_text("<|im_start|>" + _TEMPLATE)
    config = SmolVLMConfig(**_parts(tokenizer), scale_factor=2)
    return save_random(SmolVLMForConditionalGeneration, config, folder, seed)


def _llama_tokenizer() -> Any:
    """Byte pairs as Llama 3's, with its post-processor."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocab, merges = byte_pairs(TEXT.split())
    bpe = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.add_special_tokens(["<|begin_of_text|>", "<|end_of_text|>", *_SPECIAL, *_GRID])
    begin = ("<|begin_of_text|>", bpe.token_to_id("<|begin_of_text|>"))
    bpe.post_processor = processors.TemplateProcessing(single="<|begin_of_text|> $A", special_tokens=[begin])
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token="<|begin_of_text|>",
        eos_token="<end_of_utterance>",
        pad_token="<|end_of_text|>",
        additional_special_tokens=[*_SPECIAL, *_GRID],
    )


def _parts(tokenizer: Any) -> dict[str, Any]:
    text = {
        "model_type": "llama",
        "vocab_size": vocab_size(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "initializer_range": 0.2,
    }
    ids = {
        "image_token_id": tokenizer.convert_tokens_to_ids("<image>"),
        "pad_token_id": tokenizer.pad_token_id,
    }
    return {"text_config": text, "vision_config": _VISION, **ids}
