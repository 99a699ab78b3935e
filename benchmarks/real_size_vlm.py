"""One beam step of Lever-Plus at Qwen2.5-VL-3B-Instruct's true size: random weights, no download.

    python benchmarks/real_size_vlm.py [--prompts 32] [--batch-size 8]   # on a GPU
    python benchmarks/real_size_vlm.py --cpu                             # one prompt in bfloat16, about 9 GB
    python benchmarks/real_size_vlm.py --tiny                            # the same path, a few layers
    python benchmarks/real_size_vlm.py --arithmetic                      # no model at all

A prompt has two demonstrations and the query, each with an image of 640×480, as COCO's are. Likelihoods are what
beam data asks for (one forward pass), answers (3 beams, 5 tokens) what RL data and evaluation ask for. The speed
of a matrix product does not depend on the numbers in it, so random weights time as trained ones do. Of the text
only the tokenizer is not the model's: the demo's, in which some words are more tokens.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, Qwen2_5_VLConfig
from transformers.initialization import no_init_weights
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from icd_assets.demo.pieces import qwen_tokenizer
from icd_assets.vlm.backend import Generation, Question
from icd_assets.vlm.cached_inputs import CachedInputs
from icd_assets.vlm.processor import load_processor
from icd_assets.vlm.prompts import Prompt, PromptStyle, Shot
from icd_assets.vlm.transformers_backend import TransformersBackend

# https://huggingface.co/Qwen/Qwen2.5-VL-3B-Instruct/blob/main/config.json and preprocessor_config.json
TEXT = {
    "hidden_size": 2048,
    "intermediate_size": 11008,
    "num_hidden_layers": 36,
    "num_attention_heads": 16,
    "num_key_value_heads": 2,
    "vocab_size": 151936,
    "max_position_embeddings": 128000,
    "rms_norm_eps": 1e-6,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
}
VISION = {
    "depth": 32,
    "hidden_size": 1280,
    "intermediate_size": 3420,
    "num_heads": 16,
    "out_hidden_size": 2048,
    "patch_size": 14,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "window_size": 112,
    "fullatt_block_indexes": [7, 15, 23, 31],
}
PIXELS = {"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * 16384}
TINY_TEXT = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 3, "num_attention_heads": 2}
TINY_VISION = {
    "depth": 2,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_heads": 4,
    "out_hidden_size": 256,
    "fullatt_block_indexes": [0, 1],
}

# NVIDIA H100 SXM, its data sheet: dense bfloat16, memory.
H100_FLOPS, H100_BYTES = 989e12, 3.35e12
UTILISATION = 0.35  # of the peak; an assumption, in the usual range for long inputs in transformers


@dataclass(frozen=True)
class Cost:
    """What one prompt costs, in floating-point operations (two per multiply-add), and its KV cache."""

    vision: float
    language: float
    kv_bytes_per_token: int

    @property
    def forward(self) -> float:
        return self.vision + self.language


def config(tokenizer: Any, *, tiny: bool) -> Qwen2_5_VLConfig:
    """The public configuration; the ids of special tokens are this tokenizer's."""
    ids = tokenizer.convert_tokens_to_ids
    return Qwen2_5_VLConfig(
        text_config={
            **(TEXT | TINY_TEXT if tiny else TEXT),
            "bos_token_id": ids("<|endoftext|>"),
            "eos_token_id": ids("<|im_end|>"),
            "pad_token_id": ids("<|endoftext|>"),
            "tie_word_embeddings": True,
        },
        vision_config=VISION | TINY_VISION if tiny else VISION,
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
        tie_word_embeddings=True,
    )


def parameters(shape: Qwen2_5_VLConfig) -> dict[str, int]:
    """Number of parameters, by how often each is used: per patch, per image token, per token, per logit."""
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(shape)
    merger = sum(p.numel() for p in model.model.visual.merger.parameters())
    vision = sum(p.numel() for p in model.model.visual.parameters()) - merger
    embedding = model.get_input_embeddings().weight.numel()
    total = sum(p.numel() for p in model.parameters())  # the tied embedding once
    return {
        "vision": vision,
        "merger": merger,
        "language": total - vision - merger - embedding,
        "embedding": embedding,
    }


def cost(shape: Qwen2_5_VLConfig, grid: tuple[int, int], images: int, tokens: int, *, scored: int = 1) -> Cost:
    """One forward pass over ``tokens`` tokens with ``images`` images of ``grid`` patches, ``scored`` logits.

    A linear layer: 2 · parameters per token. Attention: 4 · tokens · seen tokens · width per layer, causal or
    not; in the vision tower's windowed layers a patch sees its window. Norms and activations are left out.
    """
    text, vision, count = shape.text_config, shape.vision_config, parameters(shape)
    patches = grid[0] * grid[1]
    full = len(vision.fullatt_block_indexes)
    window = (vision.window_size // vision.patch_size) ** 2
    seen = full * patches + (vision.depth - full) * min(window, patches)
    looks = 2 * count["vision"] * patches + 2 * count["merger"] * patches // vision.spatial_merge_size**2
    looks += 4 * patches * seen * vision.hidden_size
    reads = 2 * count["language"] * tokens + 4 * tokens**2 * text.hidden_size * text.num_hidden_layers
    reads += 2 * count["embedding"] * scored
    key_width = text.num_key_value_heads * text.hidden_size // text.num_attention_heads
    return Cost(images * looks, reads, 2 * text.num_hidden_layers * key_width * 2)


def random_model(shape: Qwen2_5_VLConfig, device: str) -> Any:
    """In bfloat16; its weights are a million random numbers, again and again, and its norms scale by one."""
    with torch.device(device), no_init_weights():
        model = AutoModelForImageTextToText.from_config(shape, dtype=torch.bfloat16).eval()
    noise = 0.02 * torch.randn(1 << 20, dtype=torch.bfloat16, device=device)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 and name.endswith("weight"):
                parameter.fill_(1)
                continue
            flat = parameter.view(-1)
            for start in range(0, len(flat), len(noise)):
                part = flat[start : start + len(noise)]
                part.copy_(noise[: len(part)])
    return model


def backend(folder: Path, shape: Qwen2_5_VLConfig, device: str, batch_size: int) -> TransformersBackend:
    """The production path, but for the weights."""
    model = random_model(shape, device)
    return TransformersBackend(
        model,
        CachedInputs(load_processor(folder), model, 1 << 30),
        digest="random",
        style=PromptStyle(),
        generation=Generation(),
        batch_size=batch_size,
    )


def prompts(folder: Path, count: int) -> list[Prompt]:
    images = []
    for index in range(min(3 * count, 64)):
        images.append(folder / f"{index}.jpg")
        Image.effect_noise((640, 480), 40 + index).convert("RGB").save(images[-1])

    def image(number: int) -> Path:
        return images[number % len(images)]

    question = "what sound does it make?"
    return [
        Prompt(
            (Shot(image(3 * n), question, "buzz"), Shot(image(3 * n + 1), question, "hum")),
            image(3 * n + 2),
            question,
        )
        for n in range(count)
    ]


def seconds(work: Callable[[], object], device: str) -> float:
    began = time.perf_counter()
    work()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def print_arithmetic(shape: Qwen2_5_VLConfig, tokens: int) -> None:
    count, spent = parameters(shape), cost(shape, (34, 46), 3, tokens)
    total = sum(count.values())
    print(f"parameters: {total / 1e9:.3f} B ({', '.join(f'{k} {v / 1e9:.3f}' for k, v in count.items())})")
    kept = spent.kv_bytes_per_token
    print(f"weights in bfloat16: {2 * total / 1e9:.2f} GB; KV cache: {kept} B per token")
    print(f"a prompt: 3 images of 34×46 patches, {tokens} tokens, {kept * tokens / 1e6:.0f} MB of KV cache")
    print(f"forward: {spent.forward / 1e12:.2f} TFLOP, of it the images {spent.vision / 1e12:.2f}")
    rate = H100_FLOPS * UTILISATION
    print(
        f"on an H100 at {UTILISATION:.0%} of its peak: {1e3 * spent.forward / rate:.0f} ms a prompt, "
        f"{1e3 * spent.language / rate:.0f} ms once its images are known; "
        f"{1e3 * 2 * total / H100_BYTES:.1f} ms per further token of a batch (reading the weights once)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda:0" if torch.cuda.is_available() else None)
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--cpu", action="store_true", help="one prompt on the CPU")
    parser.add_argument("--tiny", action="store_true", help="a few layers of a small width")
    parser.add_argument("--arithmetic", action="store_true", help="no run, only what it would cost")
    options = parser.parse_args()
    tokenizer = qwen_tokenizer()
    shape = config(tokenizer, tiny=options.tiny)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokenizer.save_pretrained(folder)
        Qwen2VLImageProcessorPil(size=PIXELS).save_pretrained(folder)
        shape.save_pretrained(folder)
        device = "cpu" if options.cpu or (options.tiny and options.device is None) else options.device
        if options.arithmetic or device is None:
            print_arithmetic(shape, tokens=1250)
            if device is None:
                print("no GPU here: the weights alone take 7.5 GB; --cpu asks one prompt on the CPU all the same")
            return
        asked = prompts(folder, 1 if options.cpu and not options.tiny else options.prompts)
        answers = ["hum"] * len(asked)
        vlm = backend(folder, shape, device, options.batch_size)
        # Also lets the vision tower see every image once.
        rows = [one.row for one in vlm._asked([Question(prompt) for prompt in asked])]
        print_arithmetic(shape, tokens=len(rows[0].ids))
        for title, work in (
            ("likelihoods, a beam step", lambda: vlm.answer_likelihoods(asked, answers)),
            ("answers, 3 beams, 5 tokens", lambda: vlm.generate(asked)),
        ):
            took = seconds(work, device)
            print(f"{title}: {len(asked)} prompts in {took:.2f} s, {len(asked) / took:.3g} prompts/s on {device}")
        if device == "cpu":
            print(f"peak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB")
        else:
            print(f"peak memory: {torch.cuda.max_memory_allocated() / 1e9:.1f} GB of the GPU")


if __name__ == "__main__":
    main()
