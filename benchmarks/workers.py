"""RL-data scoring by one process, and by one and two workers of one thread each, in one run and in turns.

    python benchmarks/workers.py [--prompts 2048] [--repeats 5] [--workers 1 2]

The demo's model generates the answers to 2-shot prompts and scores two gold answers of each, behind a new store of
answers every time. Models are open and images known before the clock runs; what opening takes stands beside.
"""

from __future__ import annotations

import os

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # read when torch is imported
os.environ["ICD_THREADS"] = "1"

import argparse
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

from vlm_throughput import random_prompts

from icd_assets.experiment.catalog import Catalog
from icd_assets.store.digests import DigestCache
from icd_assets.vlm.backend import Backend
from icd_assets.vlm.cached_backend import AnswerStore, CachedBackend
from icd_assets.vlm.local_workers import on_this_machine
from icd_assets.vlm.prompts import Prompt
from icd_assets.vlm.workers import Workers


def scored(backend: Backend, prompts: list[Prompt], store: Path) -> float:
    """Seconds that answers and likelihoods of all prompts take."""
    cached = CachedBackend(backend, AnswerStore(store))
    began = time.perf_counter()
    cached.generate(prompts)
    cached.answer_likelihoods([prompt for prompt in prompts for _ in range(2)], ["red", "bread"] * len(prompts))
    took = time.perf_counter() - began
    cached.store.close()
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    given = parser.parse_args()
    model = Catalog.load().models["tiny_vl"]
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        prompts = random_prompts(here, given.prompts, (64, 64))
        digest = model.backend.digest(DigestCache(here / "digests.json"), fetch=False)

        how = {"style": model.prompt, "generation": model.generation}
        opens = partial(model.backend.open, digest=digest, device="cpu", **how)
        alone = opens()
        backends = {"one process": alone} | {
            f"{count} workers": Workers(
                opens, partial(on_this_machine, [{"ICD_THREADS": "1"}] * count), digest=alone.digest, **how
            )
            for count in given.workers
        }
        taken: dict[str, list[float]] = {name: [] for name in backends}
        here_too: dict[str, list[float]] = {name: [] for name in backends}
        for name, backend in backends.items():
            print(f"{name}: open after {scored(backend, prompts[:600], here / f'{name} first'):.1f} s")
        for turn in range(given.repeats):
            for name, backend in backends.items():
                began = time.process_time()
                taken[name].append(scored(backend, prompts, here / f"{name} {turn}"))
                here_too[name].append(time.process_time() - began)
        serial = statistics.median(taken["one process"])
        for name, seconds in taken.items():
            median = statistics.median(seconds)
            print(
                f"{name}: {median:.2f} s, {3 * len(prompts) / median:.0f} answers a second, {serial / median:.2f}×"
                f", {statistics.median(here_too[name]):.2f} s of CPU in this process"
            )
        for backend in backends.values():
            backend.close()


if __name__ == "__main__":
    main()
