"""Prompts per second of the built-in VLM: kept image features against the plain path, in one run.

    python benchmarks/vlm_throughput.py [--model FOLDER] [--prompts 512] [--repeats 5] [--threads 1 2]
    python benchmarks/vlm_throughput.py --family smolvlm --size 640 480   # a random model of the tests

2-shot prompts, demonstrations from pools of 64 over 160 images, as in beam data. Each number is the median of
the repeats; the two paths take turns, so that a busy machine slows both. Images are already known to the fast
path (its first pass is not timed), as they are after the first minute of a real run.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is imported

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image

import icd_assets
from icd_assets.vlm.backend import Generation
from icd_assets.vlm.prompts import Prompt, PromptStyle, Shot
from icd_assets.vlm.transformers_backend import TransformersBackend
from icd_assets_tests.worlds.tiny_families import FAMILIES

QUESTIONS = ["what sound does it make?", "which food does it like?", "where does it live?", "what color is it?"]
ANSWERS = ["buzz", "hum", "bread", "cave", "red", "blue"]


def random_prompts(folder: Path, count: int, size: tuple[int, int]) -> list[Prompt]:
    rng = random.Random(0)
    images = []
    for index in range(160):
        path = folder / f"{index}.jpg"
        Image.effect_noise(size, 40 + index).convert("RGB").save(path)
        images.append(path)
    pools = [rng.sample(images, 64) for _ in range(1 + count // 65)]
    return [
        Prompt(
            tuple(Shot(rng.choice(pool), rng.choice(QUESTIONS), rng.choice(ANSWERS)) for _ in range(2)),
            rng.choice(images),
            rng.choice(QUESTIONS),
        )
        for pool in pools
        for _ in range(65)
    ][:count]


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path(icd_assets.__file__).parent / "demo" / "weights" / "tiny_vl"
    parser.add_argument("--model", default=str(default))
    parser.add_argument("--family", choices=FAMILIES, help="instead of --model")
    parser.add_argument("--size", type=int, nargs=2, default=[112, 112], help="of the images, in pixels")
    parser.add_argument("--prompts", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batch-size", type=int, nargs="+", default=[64])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        prompts = random_prompts(Path(folder), options.prompts, tuple(options.size))
        model = str(FAMILIES[options.family]()) if options.family else options.model
        answers = [random.Random(index).choice(ANSWERS) for index in range(len(prompts))]
        print("threads  batch  work         plain/s  kept/s  ratio")
        for batch_size in options.batch_size:
            plain, kept = (
                TransformersBackend.load(
                    model,
                    digest="",
                    style=PromptStyle(layout="turns", question="{question}"),
                    generation=Generation(max_new_tokens=2, num_beams=1),
                    batch_size=batch_size,
                    feature_bytes=feature_bytes,
                )
                for feature_bytes in (0, 1 << 30)
            )
            kept.generate(prompts)
            for threads in options.threads:
                torch.set_num_threads(threads)
                for name in ("likelihood", "generate"):
                    times: dict[TransformersBackend, list[float]] = {plain: [], kept: []}
                    for _ in range(options.repeats):
                        for backend in (plain, kept):
                            work = (
                                (lambda: backend.answer_likelihoods(prompts, answers))  # noqa: B023
                                if name == "likelihood"
                                else (lambda: backend.generate(prompts))  # noqa: B023
                            )
                            times[backend].append(seconds(work))
                    slow, fast = (len(prompts) / statistics.median(times[b]) for b in (plain, kept))
                    print(f"{threads:7}  {batch_size:5}  {name:10}  {slow:8.0f}  {fast:6.0f}  {fast / slow:5.2f}")


if __name__ == "__main__":
    main()
