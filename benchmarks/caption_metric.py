"""Seconds and memory of CIDEr at COCO's size: the train split's document frequencies, then RL data's chunks.

    python benchmarks/caption_metric.py [--images 82783] [--chunks 5]

Captions are random, five per image, eight to fourteen words of a vocabulary of 20,000 by Zipf's law: more distinct
n-grams than COCO has. A chunk is what RL data score at once: 64 queries with 15 captions each.
"""

from __future__ import annotations

import argparse
import random
import resource
import statistics
import time
from itertools import accumulate

from icd_assets.tasks.caption.metric import Cider

WORDS = [f"w{rank}" for rank in range(20_000)]
WEIGHTS = list(accumulate(1 / (rank + 1) for rank in range(len(WORDS))))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=82_783)
    parser.add_argument("--chunks", type=int, default=5)
    arguments = parser.parse_args()
    rng = random.Random(0)

    def caption() -> str:
        return " ".join(rng.choices(WORDS, cum_weights=WEIGHTS, k=rng.randint(8, 14))) + "."

    images = [[caption() for _ in range(5)] for _ in range(arguments.images)]
    before = _peak()
    began = time.monotonic()
    metric = Cider(images)
    seconds = time.monotonic() - began
    print(f"document frequencies of {len(images)} images: {seconds:.0f} s, peak {before} → {_peak()} MiB")
    times = []
    for _ in range(arguments.chunks):
        answers, golds = [caption() for _ in range(960)], [images[at % 64] for at in range(960)]
        began = time.monotonic()
        metric.scores(answers, golds)
        times.append(time.monotonic() - began)
    print(f"960 captions of 64 images scored: {statistics.median(times):.1f} s (median of {len(times)})")


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


if __name__ == "__main__":
    main()
