"""Random models small enough for a test: the real architectures, tokenizers and processors, built offline.

Each builder writes a folder that ``from_pretrained`` accepts and is cached per test process.
"""

from __future__ import annotations

import atexit
import functools
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
]
CHAT_TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}{{ '<|vision_start|><|image_pad|><|vision_end|>' }}"
    "{% elif c['type'] == 'text' %}{{ c['text'] }}{% endif %}"
    "{% endfor %}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TEXT = """user assistant system what sound does it make which shape is this color the a red blue green
circle square star buzz hum ring Question Short answer dog cat two three ? : ."""


@functools.cache
def root() -> Path:
    """Where this process' models lie."""
    root = Path(tempfile.mkdtemp(prefix="icd_tiny_"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    return root


def byte_pairs(words: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """A byte-level vocabulary and its merges, in which nothing is unknown."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=1000, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    bpe.train_from_iterator([*words, *(" " + word for word in words)], trainer)
    model = json.loads(bpe.to_str())["model"]
    return dict(model["vocab"]), [tuple(pair) for pair in model["merges"]]


@functools.cache
def tiny_vl(seed: int = 0) -> Path:
    """A random ``Qwen2_5_VLForConditionalGeneration`` (float32, ~0.6 M parameters), with tokenizer and processor.

    Its generation_config asks for sampling, as the hub's does: a backend that obeys it fails its tests.
    """
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    vision = {
        "depth": 2,
        "hidden_size": 64,
        "num_heads": 4,
        "intermediate_size": 128,
        "out_hidden_size": 96,
        "window_size": 112,
        "fullatt_block_indexes": [0, 1],
        "initializer_range": 0.2,
    }
    return _tiny_qwen(f"tiny_vl_{seed}", seed, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, vision)


@functools.cache
def tiny_qwen2_vl(seed: int = 0) -> Path:
    """A random ``Qwen2VLForConditionalGeneration`` of the same size."""
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    vision = {"depth": 2, "embed_dim": 64, "num_heads": 4, "mlp_ratio": 2, "hidden_size": 96}
    return _tiny_qwen(f"tiny_qwen2_vl_{seed}", seed, Qwen2VLConfig, Qwen2VLForConditionalGeneration, vision)


def _tiny_qwen(name: str, seed: int, config_class: Any, model_class: Any, vision: dict[str, Any]) -> Path:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    folder = root() / name
    tokenizer = qwen_tokenizer(SPECIAL[1:])
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.save_pretrained(folder)
    Qwen2VLImageProcessorPil(size={"shortest_edge": 56 * 56, "longest_edge": 84 * 84}).save_pretrained(folder)
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL}
    config = config_class(
        text_config={
            "vocab_size": vocab_size(tokenizer),
            "hidden_size": 96,
            "intermediate_size": 256,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "max_position_embeddings": 2048,
            "rms_norm_eps": 1e-5,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [3, 4, 5]},
            "bos_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
            "tie_word_embeddings": True,
            "initializer_range": 0.2,
        },
        vision_config={"patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2, **vision},
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )
    return save_random(model_class, config, folder, seed)


def qwen_tokenizer(special: list[str], **more: Any) -> Any:
    """A ``Qwen2Tokenizer`` whose special tokens are ``special``, after its pad token."""
    from transformers import Qwen2Tokenizer

    vocab, merges = byte_pairs(TEXT.split())
    return Qwen2Tokenizer(
        vocab=vocab,
        merges=merges,
        unk_token=None,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=special,
        **more,
    )


def vocab_size(tokenizer: Any) -> int:
    """Of a model's embedding: a little more than the tokenizer has, as on the hub."""
    return (len(tokenizer) + 7) // 8 * 8


def save_random(model_class: Any, config: Any, folder: Path, seed: int) -> Path:
    """``folder`` with random weights, and a generation_config that samples and penalizes, as the hub's do."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = model_class(config).eval()
    model.generation_config.do_sample = True
    model.generation_config.temperature = 5.0
    model.generation_config.repetition_penalty = 1.5
    model.save_pretrained(folder)
    return folder


@functools.cache
def tiny_clip(seed: int = 0, text_length: int = 16) -> Path:
    """A random ``CLIPModel`` with 24-d projections, with tokenizer and image processor."""
    import torch
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    folder = root() / f"tiny_clip_{seed}_{text_length}"
    letters = "abcdefghijklmnopqrstuvwxyz0123456789?.,!'-"
    vocab = {token: index for index, token in enumerate([*letters, *(letter + "</w>" for letter in letters)])}
    for token in ("<|startoftext|>", "<|endoftext|>"):
        vocab[token] = len(vocab)
    tokenizer = CLIPTokenizer(vocab=vocab, merges=[], model_max_length=text_length)
    tokenizer.save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}).save_pretrained(
        folder
    )
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config={
            **tower,
            "vocab_size": len(vocab),
            "max_position_embeddings": text_length,
            "projection_dim": 24,
            "bos_token_id": vocab["<|startoftext|>"],
            "eos_token_id": vocab["<|endoftext|>"],
            "pad_token_id": vocab["<|endoftext|>"],
            "initializer_range": 0.2,
        },
        vision_config={**tower, "image_size": 28, "patch_size": 14, "projection_dim": 24},
        projection_dim=24,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CLIPModel(config).eval()
    model.save_pretrained(folder)
    return folder


def write_images(folder: Path, count: int, size: tuple[int, int] = (112, 112)) -> list[Path]:
    """``count`` different JPEGs; every third is wider, so that image token counts differ."""
    from PIL import Image, ImageDraw

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index in range(count):
        shape = (size[0] * 2, size[1]) if index % 3 == 2 else size
        image = Image.new("RGB", shape, (37 * index % 256, 91 * index % 256, 151 * index % 256))
        box = (10 + index % 20, 10, 60 + index % 40, 90)
        ImageDraw.Draw(image).ellipse(box, fill=(255 - 20 * index % 256, 40, 200))
        path = folder / f"{index}.jpg"
        image.save(path)
        paths.append(path)
    return paths
