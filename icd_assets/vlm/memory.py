"""How much memory a vision-language model needs, from its configuration alone: no weights are read.

The model is built on torch's meta device, so the number of parameters is exact. The rest is arithmetic for
inference with scaled-dot-product attention, each part at its largest moment:

- weights: parameters × bytes of the dtype
- KV cache: 2 × layers × KV heads × head width × bytes, for every token of every row; beam search has as many rows
  per prompt as beams. Where prompts branch from kept states it is put together from those and then copied, so it
  counts twice; else it grows by copying one layer after the other, so one layer does.
- states: the KV cache of the prompts at work, which beams do not multiply, and of kept demonstrations
- activations: for every token fed at once the residual stream, its normalized copy, and gate, up and product of an
  MLP; and the attention mask, a byte and a value per pair of tokens
- logits: of each row's last token, in the dtype and in float32 thrice (copy, log-softmax, beam scores)
- vision: five times the tower's widest layer for every image patch that is encoded at once
- features: what the vision tower made of images and is kept

The numbers for a GPU add what CUDA takes per process and what its allocator cannot use. They were worked out by
hand for Qwen2.5-VL-3B (the tests show it), not measured on a GPU.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn
from transformers import AutoModelForImageTextToText

from icd_assets.vlm.backend import Generation
from icd_assets.vlm.batches import ROWS
from icd_assets.vlm.branching_path import BATCHES_AT_ONCE
from icd_assets.vlm.chat import Chat
from icd_assets.vlm.image_features import why_not
from icd_assets.vlm.inputs import special_tokens
from icd_assets.vlm.prompts import Prompt, PromptStyle, Shot
from icd_assets.vlm.weights import Dtype

GIB = 1 << 30
KEPT_FEATURES = _KEPT_STATES = GIB  # TransformersBackend.load's feature_bytes and state_bytes
_CUDA_CONTEXT = GIB // 2
_FRAGMENTED = 0.1
_LARGEST_BATCH = 512


@dataclass(frozen=True, slots=True)
class ModelSizes:
    """What of a model decides its memory."""

    parameters: int
    layers: int
    kv_heads: int
    head_width: int
    hidden: int
    widest: int  # layer of the decoder, its head left out
    vocabulary: int
    vision_widest: int
    branches: bool  # images go one at a time and are kept, prompts branch: icd_assets.vlm.branching_path

    def kv_bytes(self, size: int) -> int:
        """Of one token of one row, at ``size`` bytes a number."""
        return 2 * self.layers * self.kv_heads * self.head_width * size


@dataclass(frozen=True, slots=True)
class PromptSize:
    """One prompt: its tokens as the model reads them, its images, and the patches of all of them."""

    tokens: int
    images: int
    patches: int


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes by what they are for."""

    weights: int
    kv_cache: int
    states: int
    activations: int
    logits: int
    vision: int
    features: int

    @property
    def model(self) -> int:
        """What the model's tensors take: the vision tower is done before the decoder starts."""
        answering = self.kv_cache + self.activations + self.logits
        return self.weights + self.features + self.states + max(self.vision, answering)

    @property
    def on_gpu(self) -> int:
        return _CUDA_CONTEXT + round(self.model * (1 + _FRAGMENTED))


def model_sizes(config: Any) -> ModelSizes:
    """The sizes of the model that ``config`` describes; a fraction of a second for billions of parameters."""
    with torch.device("meta"):
        return sizes_of(AutoModelForImageTextToText.from_config(config))


def sizes_of(model: Any) -> ModelSizes:
    text, decoder = model.config.get_text_config(), set(model.get_decoder().modules())
    outside = (module for module in model.modules() if module not in decoder)
    heads = text.num_attention_heads
    return ModelSizes(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        layers=text.num_hidden_layers,
        kv_heads=getattr(text, "num_key_value_heads", None) or heads,
        head_width=getattr(text, "head_dim", None) or text.hidden_size // heads,
        hidden=text.hidden_size,
        widest=_widest(decoder),
        vocabulary=text.vocab_size,
        vision_widest=_widest(module for module in outside if module is not model.get_output_embeddings()),
        branches=why_not(model) is None,
    )


def _widest(modules: Iterable[nn.Module]) -> int:
    return max(module.out_features for module in modules if isinstance(module, nn.Linear))


def prompt_size(
    processor: Any, config: Any, style: PromptStyle, *, shots: int, question: str, image: tuple[int, int]
) -> PromptSize:
    """A prompt of ``shots`` demonstrations that all ask ``question``, with blank images of ``image`` (width,
    height) pixels, as the processor makes it."""
    nowhere = Path()  # the template needs a place for the image, not the image
    prompt = Prompt((Shot(nowhere, question, "nothing"),) * shots, nowhere, question)
    texts = [Chat(processor, style).text(prompt)]
    images = [Image.new("RGB", image)] * (shots + 1)
    fed = processor(text=texts, images=[images], return_tensors="pt", **special_tokens(processor, texts))
    vision = config.vision_config
    side = vision.patch_size if isinstance(vision.patch_size, int) else vision.patch_size[0]
    patch = 3 * side**2 * getattr(vision, "temporal_patch_size", 1)  # values of one patch
    return PromptSize(fed["input_ids"].shape[1], len(images), fed["pixel_values"].numel() // patch)


@dataclass(frozen=True, slots=True)
class Workload:
    """A model that generates answers to ``batch_size`` of its largest prompts at once; scoring answers needs less,
    for it has no beams."""

    sizes: ModelSizes
    prompt: PromptSize
    dtype: Dtype
    generation: Generation
    batch_size: int | None  # None: of a GPU as many as fit

    def memory(self) -> Memory:
        sizes, prompt, size = self.sizes, self.prompt, getattr(torch, self.dtype).itemsize
        prompts = self.batch_size or ROWS
        rows = prompts * self.generation.num_beams
        read = prompts if sizes.branches else rows  # rows that read a prompt
        length = prompt.tokens + self.generation.max_new_tokens
        cache = sizes.kv_bytes(size) * rows * length
        together = 1 if sizes.branches else prompt.images * prompts
        at_once = BATCHES_AT_ONCE * prompts
        patches = prompt.patches * together // prompt.images
        return Memory(
            weights=sizes.parameters * size,
            kv_cache=2 * cache if sizes.branches else cache + cache // sizes.layers,
            states=_KEPT_STATES + at_once * sizes.kv_bytes(size) * prompt.tokens if sizes.branches else 0,
            activations=read * prompt.tokens * (2 * sizes.hidden + 3 * sizes.widest) * size
            + read * prompt.tokens**2 * (1 + size),
            logits=rows * sizes.vocabulary * (size + 3 * 4),
            vision=patches * 5 * sizes.vision_widest * size,
            features=KEPT_FEATURES if sizes.branches else 0,
        )

    def largest_batch(self, free: int) -> int:
        """The largest power of two of prompts that fit into ``free`` bytes of a GPU at once; 0 if not even one."""
        batch, fits = 1, 0
        while batch <= _LARGEST_BATCH and replace(self, batch_size=batch).memory().on_gpu <= free:
            fits, batch = batch, 2 * batch
        return fits
