"""Makes the demo's two models again from nothing: ``python -m icd_assets.demo.train [--out DIR] [--seed 0]``.

Two processes, one thread each (so that the same machine gives the same bytes), then a card with what was
measured on pictures and knowledge that training never saw.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

WEIGHTS = Path(__file__).parent / "weights"
MEASURED_ROWS = 2000  # pictures with questions
MEASURED_PROMPTS = 500
MEASURED_PAIRS = 60  # queries of the exhaustive search, each of some 500 prompts
SHOWN_TWICE = {  # what two demonstrations share with a two-word question
    "one of the shape, one of the color": ("shape", "color"),
    "one of both, one of neither": ("both", "none"),
    "two of the shape": ("shape", "shape"),
    "two of the color": ("color", "color"),
    "two of neither": ("none", "none"),
}


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=WEIGHTS, show_default="the package's weights")
@click.option("--seed", type=int, default=0, show_default=True)
def main(out: Path, seed: int) -> None:
    """Train tiny_vl and tiny_clip, measure them, and write both with their card."""
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}  # read by the children as they start
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as processes:
        jobs = [processes.submit(make, out, seed) for make in (make_vlm, make_clip)]
        facts = {"seed": seed} | {name: part for job in jobs for name, part in job.result().items()}
    (out / "facts.json").write_text(json.dumps(facts, indent=1) + "\n")
    (out / "README.md").write_text(card(facts))
    click.echo(f"wrote {out}")


def make_vlm(out: Path, seed: int) -> dict[str, Any]:
    from icd_assets.demo.vlm_recipe import VlmRecipe, save_vlm, train_vlm

    recipe = VlmRecipe()
    model, seconds = _timed(lambda: train_vlm(recipe, seed, _printer("tiny_vl")))
    with _replaced(out / "tiny_vl") as folder:
        save_vlm(model, folder)
    return {"tiny_vl": {**_size(model), **seconds, "recipe": asdict(recipe), **measure_vlm(model, seed)}}


def measure_vlm(model: Any, seed: int) -> dict[str, Any]:
    from icd_assets.demo.measure import copying, two_words
    from icd_assets.demo.pair_search import pair_search
    from icd_assets.demo.pieces import qwen_tokenizer

    asked = {"model": model, "tokenizer": qwen_tokenizer(), "seed": seed}
    scores = {
        others: {
            str(shots): copying(**asked, shots=shots, prompts=MEASURED_PROMPTS, same_kind=same_kind)
            for shots in (1, 2, 3, 4)
        }
        for others, same_kind in (("random", False), ("same_kind", True))
    }
    pairs = {
        name: two_words(**asked, alike=alike, prompts=MEASURED_PROMPTS) for name, alike in SHOWN_TWICE.items()
    }
    search = pair_search(**asked, queries=MEASURED_PAIRS)
    return {"one_relevant": scores, **_rounded({"two_words": pairs, "pair_search": search})}


def make_clip(out: Path, seed: int) -> dict[str, Any]:
    from icd_assets.demo import measure
    from icd_assets.demo.clip_recipe import ClipRecipe, save_clip, train_clip
    from icd_assets.demo.pieces import clip_tokenizer
    from icd_assets.demo.tiny_clip import PICTURE_WEIGHTS, WORDING_WEIGHTS

    recipe = ClipRecipe()
    model, seconds = _timed(lambda: train_clip(recipe, seed, _printer("tiny_clip")))
    with _replaced(out / "tiny_clip") as folder:
        save_clip(model, folder)
    embeddings, labels = measure.embeddings(model, clip_tokenizer(), MEASURED_ROWS, seed)
    names = (*measure.PICTURE_ATTRIBUTES, *measure.WORDING_ATTRIBUTES)
    shown = {"picture": names[:4], "question": names[4:], "combined": names}
    probes, neighbors = {}, {}
    for kind, attributes in shown.items():
        own = labels[:, [names.index(attribute) for attribute in attributes]]
        probes[kind] = {a: measure.probe(embeddings[kind], own[:, i]) for i, a in enumerate(attributes)}
        matches = measure.neighbor_match(embeddings[kind], own, seed)
        neighbors[kind] = dict(zip(attributes, matches, strict=True))
    return {
        "tiny_clip": {
            **_size(model),
            **seconds,
            "recipe": asdict(recipe),
            "picture_weights": PICTURE_WEIGHTS,
            "wording_weights": WORDING_WEIGHTS,
            "probe": _rounded(probes),
            "nearest_of_64": _rounded(neighbors),
        }
    }


def card(facts: dict[str, Any]) -> str:
    """The README beside the weights."""
    vlm, clip = facts["tiny_vl"], facts["tiny_clip"]
    shots = "\n".join(
        f"| {n} | {vlm['one_relevant']['random'][n]} | {vlm['one_relevant']['same_kind'][n]} |" for n in "1234"
    )
    pairs = "\n".join(f"| {name} | {share} |" for name, share in vlm["two_words"].items())
    search = "\n".join(f"| {name} | {share} |" for name, share in vlm["pair_search"].items())
    seen = "\n".join(
        f"| {name} | {value} | {clip['nearest_of_64']['combined'][name]} |"
        for name, value in clip["probe"]["combined"].items()
    )
    return f"""# Weights of the demo world

Made by `python -m icd_assets.demo.train --seed {facts["seed"]}` from the rendered world of
`icd_assets/demo/world.py` and nothing else: no other data, no other weights. They are of use inside that world
only. License: MIT, as the project. `facts.json` holds these numbers and the recipes.

**tiny_vl** is a `Qwen2_5_VLForConditionalGeneration` of {vlm["parameters"]:,} parameters, trained in
{vlm["cpu_seconds"]} CPU-seconds. Share of {MEASURED_PROMPTS} lore questions answered right, on fresh pictures and
fresh knowledge, with one relevant demonstration among the shots; the others are random, or ask the same kind of
question about other shapes:

| shots | others random | others of the same kind |
|---|---|---|
{shots}

Share of {MEASURED_PROMPTS} two-word questions answered whole, on fresh pictures and fresh knowledge, with two
demonstrations of the same kind of question:

| the two demonstrations | answered |
|---|---|
{pairs}

Exhaustive search for {MEASURED_PAIRS} validation questions of `demo_pairs`, in pools of 64 of its train split,
by the likelihood of the true answer:

| demonstrations, or what was found | share of the questions |
|---|---|
{search}

**tiny_clip** is a `CLIPModel` of {clip["parameters"]:,} parameters, trained in {clip["cpu_seconds"]} CPU-seconds.
On {MEASURED_ROWS} fresh pictures with questions: accuracy of a linear probe on the combined embedding (probed on
rows it was not fitted to), and how often the nearest of 64 random others shares the attribute. The key of a
demonstration, shape and kind, can be read off, but does not decide who is near:

| attribute | linear probe | nearest of 64 |
|---|---|---|
{seen}
"""


def _timed(make: Callable[[], Any]) -> tuple[Any, dict[str, int]]:
    import torch

    torch.set_num_threads(1)
    wall, cpu = time.monotonic(), time.process_time()
    made = make()
    return made, {
        "wall_seconds": round(time.monotonic() - wall),
        "cpu_seconds": round(time.process_time() - cpu),
    }


def _size(model: Any) -> dict[str, int]:
    return {"parameters": sum(parameter.numel() for parameter in model.parameters())}


def _rounded(table: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    return {row: {name: round(value, 3) for name, value in cells.items()} for row, cells in table.items()}


def _printer(name: str) -> Callable[[int, int], None]:
    def show(done: int, total: int) -> None:
        if done % 100 == 0 or done == total:
            click.echo(f"{name}: step {done} of {total}")

    return show


@contextmanager
def _replaced(folder: Path) -> Iterator[Path]:
    """A staging folder that takes the folder's place once it is full."""
    staging = folder.with_name(f".{folder.name}.{os.getpid()}")
    staging.mkdir(parents=True)
    yield staging
    for file in staging.iterdir():
        file.chmod(0o644)
    if folder.exists():
        shutil.rmtree(folder)
    staging.rename(folder)


if __name__ == "__main__":
    main()
