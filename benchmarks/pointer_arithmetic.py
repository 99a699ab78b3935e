"""What a prompt costs at real size: floating-point operations of Qwen2.5-VL-3B, counted without its weights.

    python benchmarks/pointer_arithmetic.py [--queries 4] [--pointers 13] [--pool 64]

The backend answers real prompts (640 × 480, two demonstrations) with a model that has the real one's tokens and
image grids but a decoder of one narrow layer: which passes there are depends on tokens alone. Every pass is then
counted by torch's FlopCounterMode on the real configuration, on the meta device (images by a formula). Three
workloads:

- RL data: pointers of a query, 3 beams, 5 new tokens, the likelihood of 3 gold answers;
- beam data: the InfoScore search of a query, order "left", 5 beams;
- evaluation: each query at 0 to 4 demonstrations, nested.

Each by the rows of the table:

- one by one: every beam and every gold answer reads its whole prompt, and each pass encodes its own images, as
  Lever-Plus' loop does (SPEC G.4, G.6);
- each prompt: the plain path, as for a family that keeps no state that can be branched;
- branching: ours.

Images are counted apart: those encoded, and those that differ.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from real_size_vlm import PIXELS, TEXT, TINY_TEXT, TINY_VISION, config, cost
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForImageTextToText, DynamicCache, Qwen2_5_VLConfig
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from icd_assets.demo.pieces import qwen_tokenizer
from icd_assets.evaluation.tables import text_table
from icd_assets.vlm.backend import Generation, Question
from icd_assets.vlm.cached_inputs import CachedInputs
from icd_assets.vlm.inputs import ProcessorInputs
from icd_assets.vlm.processor import load_processor
from icd_assets.vlm.prompts import Prompt, PromptStyle, Shot
from icd_assets.vlm.transformers_backend import TransformersBackend

GRID = (34, 46)  # patches of a picture of 640 × 480
GOLDS = ("hum", "a red dog", "bread and butter")
TERA = 1e12


class Passes:
    """The forward passes of a model: rows, tokens fed, tokens kept before, logits; and its images."""

    def __init__(self, model: Any) -> None:
        self.decoder: Counter[tuple[int, int, int, int]] = Counter()
        self.images = 0
        model.register_forward_pre_hook(self._decoded, with_kwargs=True)
        model.base_model.visual.register_forward_pre_hook(self._encoded, with_kwargs=True)

    def _decoded(self, _: Any, __: Any, given: dict[str, Any]) -> None:
        rows, fed = given["input_ids"].shape
        cache, kept = given.get("past_key_values"), given.get("logits_to_keep", 0)
        logits = (kept or fed) if isinstance(kept, int) else len(kept)
        self.decoder[rows, fed, 0 if cache is None else cache.get_seq_length(), logits] += 1

    def _encoded(self, _: Any, __: Any, given: dict[str, Any]) -> None:
        self.images += len(given["grid_thw"])


@cache
def bare(layers: int, tiny: bool) -> Any:
    """The real configuration with few ``layers``, or the tiny one, without weights."""
    shape = config(qwen_tokenizer(), tiny=tiny)
    shape.text_config.num_hidden_layers = layers
    shape.text_config.layer_types = shape.text_config.layer_types[:layers]
    with torch.device("meta"):
        return AutoModelForImageTextToText.from_config(shape, dtype=torch.bfloat16)


@cache
def image_flops(grid: tuple[int, int] = GRID, *, tiny: bool = False) -> float:
    """By formula: the vision tower's windows depend on values, which the meta device has not."""
    return cost(config(qwen_tokenizer(), tiny=tiny), grid, images=1, tokens=0, scored=0).vision


@cache
def decoder_flops(rows: int, fed: int, before: int, logits: int, *, tiny: bool = False) -> float:
    """Of one forward pass over ``fed`` tokens behind ``before``. All layers are alike, so two are counted."""
    one, two = (_counted(bare(layers, tiny), rows, fed, before, logits) for layers in (1, 2))
    layers = (TEXT | TINY_TEXT if tiny else TEXT)["num_hidden_layers"]
    return one + (layers - 1) * (two - one)


def _counted(model: Any, rows: int, fed: int, before: int, logits: int) -> int:
    text = model.config.text_config
    heads, width = text.num_key_value_heads, text.hidden_size // text.num_attention_heads
    kept = torch.empty(rows, heads, before, width, device="meta", dtype=torch.bfloat16)
    past = DynamicCache([(kept, kept)] * text.num_hidden_layers) if before else DynamicCache()
    ids = torch.zeros(rows, fed, dtype=torch.long, device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(
            input_ids=ids,
            position_ids=torch.zeros(3, rows, fed, dtype=torch.long, device="meta"),
            past_key_values=past,
            use_cache=True,
            logits_to_keep=logits,
        )
    return counter.get_total_flops()


def small(
    folder: Path, shape: Qwen2_5_VLConfig, beams: int, *, branching: bool
) -> tuple[TransformersBackend, Passes]:
    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_config(shape, dtype=torch.float32).eval()
    passes = Passes(model)
    processor = load_processor(folder)
    plain = ProcessorInputs(processor, model.device, model.dtype)
    backend = TransformersBackend(
        model,
        CachedInputs(processor, model, 1 << 30) if branching else plain,
        digest="random",
        style=PromptStyle(),
        generation=Generation(num_beams=beams, min_new_tokens=5),
        batch_size=8,
        exact=False,
    )
    return backend, passes


def pictures(folder: Path, count: int) -> list[Path]:
    found = []
    for index in range(count):
        found.append(folder / f"{index}.jpg")
        Image.effect_noise((640, 480), 40 + index).convert("RGB").save(found[-1])
    return found


def rl_data(rng: random.Random, library: Sequence[Shot], queries: int, pointers: int, pool: int) -> list[Question]:
    """Half of a query's pointers begin with one of two demonstrations, as beams of a policy do."""
    asked = []
    for number in range(queries):
        own, query = rng.sample(library, pool), library[number]
        chosen = [(own[at % 2], own[2 + at]) for at in range(pointers // 2)]
        chosen += [tuple(rng.sample(own, 2)) for _ in range(pointers - len(chosen))]
        for pair in chosen:
            prompt = Prompt(pair, query.image, query.question)
            asked += [Question(prompt, answer) for answer in (None, *GOLDS)]
    return asked


def beam_data(rng: random.Random, library: Sequence[Shot], queries: int, pool: int) -> list[list[Question]]:
    """Step by step: no demonstration and each alone, then each before the five that were best."""
    alone, pairs = [], []
    for number in range(queries):
        own, query = rng.sample(library, pool), library[number]
        alone += [Prompt(shots, query.image, query.question) for shots in [(), *((shot,) for shot in own)]]
        best = own[:5]
        pairs += [Prompt((new, old), query.image, query.question) for new in own for old in best if new is not old]
    return [[Question(prompt, "hum") for prompt in step] for step in (alone, pairs)]


def evaluation(rng: random.Random, library: Sequence[Shot], queries: int) -> list[Question]:
    asked = []
    for number in range(queries):
        chosen, query = rng.sample(library, 4), library[number]
        asked += [Question(Prompt(tuple(chosen[:shots]), query.image, query.question)) for shots in range(5)]
    return asked


def one_by_one(backend: TransformersBackend, asked: Sequence[Question]) -> tuple[float, int]:
    """FLOPs and images if every question were a pass of its own; of an answer, a pass per beam."""
    total, images = 0.0, 0
    beams, new = backend.generation.num_beams, backend.generation.max_new_tokens
    for question, row in zip(asked, backend._asked(asked), strict=True):
        length = len(row.row.ids)
        total += image_flops() * len(question.prompt.images)
        images += len(question.prompt.images)
        if question.answer is not None:
            total += decoder_flops(1, length, 0, length)
            continue
        total += decoder_flops(beams, length, 0, 1)
        total += sum(decoder_flops(beams, 1, length + step, 1) for step in range(new - 1))
    return total, images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=4)
    parser.add_argument("--pointers", type=int, default=13)
    parser.add_argument("--pool", type=int, default=64)
    options = parser.parse_args()
    rng, tokenizer = random.Random(0), qwen_tokenizer()
    shape = config(tokenizer, tiny=True)
    shape.text_config.num_hidden_layers = shape.vision_config.depth = 1
    shape.text_config.layer_types = shape.text_config.layer_types[:1]
    shape.vision_config.fullatt_block_indexes = [0]
    assert TINY_TEXT["num_hidden_layers"] > 1 < TINY_VISION["depth"]  # `config` took ours
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokenizer.save_pretrained(folder)
        Qwen2VLImageProcessorPil(size=PIXELS).save_pretrained(folder)
        shape.save_pretrained(folder)
        print(
            f"A picture takes {image_flops() / TERA:.2f} TFLOP, a pass over 1,200 tokens "
            f"{decoder_flops(1, 1200, 0, 1) / TERA:.2f}.\n"
        )
        images = pictures(folder, 2 * options.pool)
        library = [Shot(image, "what sound does it make?", rng.choice(["buzz", "hum"])) for image in images]
        works: list[tuple[str, int, list[list[Question]]]] = [
            (
                "RL data, a pointer: 2 shots, 3 beams, 3 gold answers",
                3,
                [rl_data(rng, library, options.queries, options.pointers, options.pool)],
            ),
            ("beam data, a query: 380 prompts, order left", 1, beam_data(rng, library, 1, options.pool)),
            ("evaluation, a query at 0 to 4 shots", 3, [evaluation(rng, library, options.queries)]),
        ]
        units = [options.queries * options.pointers, 1, options.queries]
        lines = []
        for (title, beams, steps), count in zip(works, units, strict=True):
            asked = [question for step in steps for question in step]
            different = len({image for question in asked for image in question.prompt.images})
            found = []
            backend, _ = small(folder, shape, beams, branching=True)
            found.append(one_by_one(backend, asked))
            for branching in (False, True):
                backend, passes = small(folder, shape, beams, branching=branching)
                for step in steps:
                    backend.replies(step)
                spent = sum(decoder_flops(*one) * times for one, times in passes.decoder.items())
                found.append((spent + passes.images * image_flops(), passes.images))
            cells = [f"{total / count / TERA:,.1f} ({encoded / count:,.1f})" for total, encoded in found]
            lines.append([title, f"{different / count:.1f}", *cells, f"{found[0][0] / found[2][0]:.1f}"])
        header = [
            "TFLOP (pictures encoded)",
            "pictures that differ",
            "one by one",
            "each prompt by itself",
            "ours",
        ]
        print(text_table([*header, "ratio"], lines))


if __name__ == "__main__":
    main()
