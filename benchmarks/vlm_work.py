"""The three kinds of work that a VLM does for a cell, beside a loop that asks one prompt at a time.

    python benchmarks/vlm_work.py [--queries 100] [--beam-queries 20] [--runs 3]

The demo's model on one thread; medians of the processor's seconds, in turns:

- RL data: 13 pointers of a query from a pool of 64, the answer by 3 beams and the likelihoods of 3 gold answers;
- beam data: the InfoScore search of a query, pool of 64, 5 beams, order "left": 380 prompts;
- evaluation: a query at 0 to 4 demonstrations, each the beginning of the next.

The baseline is of Lever-Plus' shape (SPEC D.1, G.4, G.6): each answer and each likelihood is a pass of its own
over its text and pictures, which the processor reads anew. It does a part of the queries, and is scaled. Ours
starts with nothing kept. Ends with 1 if the two give other answers, or probabilities over 1e-5 or log-likelihoods
over 1e-4 apart: float32 keeps seven digits, and answers as unlikely as e^-60 are among them.
"""

from __future__ import annotations

import os

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # read when torch is imported
os.environ["ICD_THREADS"] = "1"

import argparse
import math
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from vlm_throughput import ANSWERS, QUESTIONS, random_prompts

import icd_assets
from icd_assets.evaluation.tables import text_table
from icd_assets.vlm.backend import Generation, Likelihood, Question, Reply
from icd_assets.vlm.prompts import Prompt, PromptStyle, Shot
from icd_assets.vlm.transformers_backend import TransformersBackend

MODEL = Path(icd_assets.__file__).parent / "demo" / "weights" / "tiny_vl"
POOL, POINTERS, GOLDS, KEPT = 64, 13, 3, 5

Work = list[list[Question]]  # steps; in each, whatever may be asked at once


def rl_data(rng: random.Random, library: Sequence[Shot], queries: int) -> Work:
    asked = []
    for query in rng.sample(library, queries):
        pool, golds = rng.sample(library, POOL), rng.sample(ANSWERS, GOLDS)
        for _ in range(POINTERS):
            prompt = Prompt(tuple(rng.sample(pool, 2)), query.image, query.question)
            asked += [Question(prompt, answer) for answer in (None, *golds)]
    return [asked]


def beam_data(rng: random.Random, library: Sequence[Shot], queries: int) -> Work:
    """The second step of a search that found the first five singles best: which are, no cost depends on."""
    alone, pairs = [], []
    for query in rng.sample(library, queries):
        pool, gold = rng.sample(library, POOL), rng.choice(ANSWERS)
        for shots in [(), *((shot,) for shot in pool)]:
            alone.append(Question(Prompt(shots, query.image, query.question), gold))
        for old in pool[:KEPT]:
            for new in pool:
                if new is not old:
                    pairs.append(Question(Prompt((new, old), query.image, query.question), gold))
    return [alone, pairs]


def evaluation(rng: random.Random, library: Sequence[Shot], queries: int) -> Work:
    asked = []
    for query in rng.sample(library, queries):
        chosen = tuple(rng.sample(library, 4))
        asked += [Question(Prompt(chosen[:shots], query.image, query.question)) for shots in range(5)]
    return [asked]


def backend(beams: int, *, plain: bool = False, exact: bool = True) -> TransformersBackend:
    return TransformersBackend.load(
        str(MODEL),
        digest="",
        style=PromptStyle(layout="turns", question="{question}"),
        generation=Generation(max_new_tokens=5, num_beams=beams),
        batch_size=1 if plain else 64,
        feature_bytes=0 if plain else 1 << 30,
        exact=exact,
    )


def ask(model: TransformersBackend, work: Work, one_by_one: bool, at_most: int) -> tuple[float, list[Reply]]:
    """CPU seconds, and the replies."""
    began, found = time.process_time(), []
    for step in work:
        asked = step[:at_most]
        found += [model.replies([one])[0] for one in asked] if one_by_one else model.replies(asked)
    return time.process_time() - began, found


def apart(one: Reply, other: Reply) -> tuple[float, float]:
    """By how much two replies differ: in log-likelihood, and in probability; other texts, without end."""
    if isinstance(one, Likelihood) and isinstance(other, Likelihood):
        return abs(one.logprob - other.logprob), abs(one.probability - other.probability)
    return (0.0, 0.0) if one == other else (math.inf, math.inf)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--beam-queries", type=int, default=20)
    parser.add_argument("--plain", type=int, default=150, help="questions that the baseline answers of each step")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng = random.Random(0)
    kinds: list[tuple[str, int, Callable[[random.Random, Sequence[Shot], int], Work], int]] = [
        (f"RL data, {POINTERS} pointers, {GOLDS} gold answers", 3, rl_data, options.queries),
        ("beam data, 380 prompts", 1, beam_data, options.beam_queries),
        ("evaluation at 0 to 4 shots", 3, evaluation, options.queries),
    ]
    lines, differences = [], [(0.0, 0.0)]
    with tempfile.TemporaryDirectory() as folder:
        images = sorted({prompt.image for prompt in random_prompts(Path(folder), 640, (112, 112))})
        library = [Shot(image, rng.choice(QUESTIONS), rng.choice(ANSWERS)) for image in images]
        for title, beams, work_of, queries in kinds:
            work = work_of(rng, library, queries)
            total = sum(map(len, work))
            asked = sum(min(len(step), options.plain) for step in work)
            slow, fast, free = [], [], []
            for _ in range(options.runs):
                # Of a step's questions the first ones are like the others.
                took, plain = 0.0, []
                for step in work:
                    seconds, replies = ask(backend(beams, plain=True), [step], True, options.plain)
                    took += seconds * len(step) / min(len(step), options.plain)
                    plain.append(replies)
                slow.append(took)
                seconds, ours = ask(backend(beams), work, False, total)
                fast.append(seconds)
                free.append(ask(backend(beams, exact=False), work, False, total)[0])
            at = 0
            for step, replies in zip(work, plain, strict=True):
                own = ours[at : at + len(replies)]
                differences += [apart(*both) for both in zip(own, replies, strict=True)]
                at += len(step)
            one, other, inexact = (1e3 * statistics.median(each) / queries for each in (slow, fast, free))
            cells = [f"{one:,.0f}", f"{other:,.0f}", f"{one / other:.1f}", f"{inexact:,.0f}"]
            lines.append([title, str(total // queries), *cells])
            print(f"{title}: {asked} of {total} questions compared", file=sys.stderr)
    logarithm, probability = (max(each) for each in zip(*differences, strict=True))
    print(
        f"The demo's model, one thread, CPU milliseconds a query, medians of {options.runs}. The same answers; "
        f"log-likelihoods differ by {logarithm:.0e} at most, probabilities by {probability:.0e}.\n"
        if math.isfinite(logarithm)
        else "The answers differ.\n"
    )
    print(
        text_table(
            ["work", "questions a query", "one prompt at a time", "ours", "ratio", "ours, exact: false"], lines
        )
    )
    return 1 if logarithm > 1e-4 or probability > 1e-5 else 0


if __name__ == "__main__":
    sys.exit(main())
