"""VQAv2 at its true size: seconds and peak memory of what the pipeline does with 443,757 questions.

    python benchmarks/vqav2_scale.py [--folder FOLDER] [--questions 443757] [--anchors 5000] [--only PART …]

Writes a synthetic VQAv2 train split in official form (82,783 images, 443,757 questions, ten answers each; the
same bytes every time), unit-norm CLIP features [443757, 768] and an embedding matrix [443757, 512]; with fewer
questions there are fewer images in proportion. Each part is then measured in a process of its own; peak memory is
its resident set, mapped files included, and beside it what is no file's (a look every 5 ms). Asserts that no part
needs more than 6 GiB. With --folder the files (6 GB) are kept and used again.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from icd_assets.datasets.vqa import VqaSplit

QUESTIONS, IMAGES, LAST_IMAGE = 443_757, 82_783, 581_921
SAMPLER_WIDTH, WIDTH, POOL_SIZE = 768, 512, 64
LIMIT_GIB = 6.0
IMAGE_PATTERN = "train2014/COCO_train2014_{image_id:012d}.jpg"
POOLS_OF = ("RandSampler", "TextSimSampler", "ImgSimSampler", "MixSampler")
FILES = "synthetic files"
PARTS = ("parse", "first load", "second load", *POOLS_OF, "write embeddings", "read embeddings")

OPENINGS = ("What color is the", "How many", "Is the", "What is the", "Is there a", "Where is the", "Why is the")
NOUNS = ("man", "woman", "dog", "cat", "bus", "train", "table", "pizza", "umbrella", "giraffe", "surfer", "sign")
ENDINGS = ("?", " doing?", " in the picture?", " wearing?", " on the left side of the street?", " made of?")
COMMON = ("yes", "no", "1", "2", "white", "red", "blue", "black and white", "tennis", "right")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--anchors", type=int, default=5000)
    parser.add_argument("--questions", type=int, default=QUESTIONS)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--part", choices=(FILES, *PARTS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(json.dumps(measured(options.part, options.folder, options.questions, options.anchors)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        compare(options.folder or Path(temporary), options.questions, options.anchors, options.only)


def compare(folder: Path, questions: int, anchors: int, parts: tuple[str, ...]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for kept in (folder / "kept").glob("*.arrow"):
        kept.unlink()  # the first load is to be the first
    print(f"{questions} questions about {images_of(questions)} images, {anchors} anchors\n")
    print(f"{'part':<18}{'seconds':>9}{'CPU s':>9}{'peak GiB':>10}{'no file':>9}")
    seconds: dict[str, float] = {}
    for part in (FILES, *parts):  # this process stays small: a child's peak counts from its parent's
        found = alone(part, folder, questions, anchors)
        seconds[part] = found["seconds"]
        print(
            f"{part:<18}{found['seconds']:>9.1f}{found['cpu']:>9.1f}{found['gib']:>10.2f}{found['own']:>9.2f}",
            flush=True,
        )
        assert found["gib"] <= LIMIT_GIB, f"{part} took {found['gib']:.2f} GiB"
    if {"parse", "first load", "second load"} <= set(seconds):
        second = seconds["second load"]
        print(f"\nsecond load / first load: {second / seconds['first load']:.3f}")
        print(f"second load / parsing the JSON each time: {second / seconds['parse']:.3f}")


def alone(part: str, folder: Path, questions: int, anchors: int) -> dict[str, float]:
    """:func:`measured` in a process of its own."""
    sizes = ["--questions", str(questions), "--anchors", str(anchors)]
    command = [sys.executable, __file__, "--folder", str(folder), *sizes, "--part", part]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(ended.stdout)
    return found


def images_of(questions: int) -> int:
    return max(1, questions * IMAGES // QUESTIONS)


def measured(part: str, folder: Path, questions: int, anchors: int) -> dict[str, float]:
    """Seconds, CPU seconds of all threads, and peak resident memory of one part, imports included."""
    began, own = time.monotonic(), Own()
    own.start()
    if part == FILES:
        write_files(folder, questions)
    elif part in POOLS_OF:
        build(part, folder, questions, anchors)
    elif part == "write embeddings":
        write_matrix(folder, questions)
    elif part == "read embeddings":
        read_matrix(folder, questions, anchors)
    else:
        load(part, folder, questions)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": time.monotonic() - began,
        "cpu": usage.ru_utime + usage.ru_stime,
        "gib": usage.ru_maxrss / (1 << 20),
        "own": own.peak / (1 << 20),
    }


class Own(threading.Thread):
    """The most resident memory of this process that is no file's, in KiB."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0

    def run(self) -> None:
        while True:
            status = Path("/proc/self/status").read_text()
            self.peak = max(self.peak, int(status.partition("RssAnon:")[2].split()[0]))
            time.sleep(0.005)


def load(part: str, folder: Path, questions: int) -> VqaSplit:
    from icd_assets.datasets.vqa import load_split, read_split
    from icd_assets.store.digests import DigestCache

    names: tuple[Any, ...] = ("vqav2", "train", folder / "questions.json", folder / "annotations.json")
    if part == "parse":
        split = read_split(*names, IMAGE_PATTERN)
    else:
        digests = DigestCache(folder / "kept" / "digests.json")
        split = load_split(*names, IMAGE_PATTERN, "official", digests=digests, folder=folder / "kept")
    assert len(split) == questions and split[questions - 1].row == questions - 1
    return split


def build(sampler: str, folder: Path, questions: int, anchors: int) -> None:
    from icd_assets.pools import SAMPLERS, PoolConfig
    from icd_assets.pools.features import read_features
    from icd_assets.pools.samplers import build_pools, draw_anchors
    from icd_assets.store.digests import DigestCache

    split = load("second load", folder, questions)
    digests = DigestCache(folder / "kept" / "digests.json")
    compared = SAMPLERS[sampler].needs_features
    features = read_features(folder / "features", questions, digests) if compared else None
    rows = draw_anchors(questions, anchors, seed=42)
    pools = build_pools(
        sampler,
        [split[row] for row in rows],
        split,
        PoolConfig(pool_size=POOL_SIZE),
        same_split=True,
        query_features=None if features is None else features.of(rows),
        library_features=features,
    )
    assert len(pools) == anchors and all(len(set(pool)) == POOL_SIZE for pool in pools.values())


def write_matrix(folder: Path, questions: int) -> None:
    import torch

    from icd_assets.selector.embedding_file import write_embeddings

    generator = torch.Generator().manual_seed(0)
    write_embeddings(folder / "embeddings.pt", torch.randn(questions, WIDTH, generator=generator))


def read_matrix(folder: Path, questions: int, anchors: int) -> None:
    """Each anchor's query and pool vectors, a chunk at a time, as RL data are proposed."""
    import torch

    from icd_assets.selector.embedding_file import read_embeddings

    matrix = read_embeddings(folder / "embeddings.pt", rows=questions)
    rng = random.Random(0)
    for _ in range(0, anchors, 64):
        pools = torch.tensor([rng.sample(range(questions), POOL_SIZE) for _ in range(64)])
        assert matrix[pools].shape == (64, POOL_SIZE, WIDTH)


def write_files(folder: Path, questions: int) -> None:
    from icd_assets.pools.features import seal
    from icd_assets.store.digests import DigestCache

    if (folder / "features.json").is_file():
        return
    write_dataset(folder / "questions.json", folder / "annotations.json", questions)
    for kind, seed in (("text", 1), ("image", 2)):
        write_features(folder / f"features-{kind}.npy", seed, questions)
    seal(folder / "features", DigestCache(folder / "kept" / "digests.json"))


def write_dataset(asked_in: Path, answered_in: Path, questions: int) -> None:
    """The two official files. As in VQAv2, a question_id is its image's, times a thousand, and a number."""
    rng, images = random.Random(0), images_of(questions)
    image_ids = rng.sample(range(1, LAST_IMAGE), images)
    counts = [questions // images] * images
    for index in rng.sample(range(images), questions - sum(counts)):
        counts[index] += 1
    rare = [f"{rng.choice(NOUNS)} {rng.choice(NOUNS)} {number}" for number in range(20_000)]
    head = '{"info": {"version": "2.0"}, "license": {}, "data_type": "mscoco", "data_subtype": "train2014", '
    with asked_in.open("w") as asked, answered_in.open("w") as answered:
        asked.write(head + '"task_type": "Open-Ended", "questions": [')
        answered.write(head + '"annotations": [')
        comma = ""
        for image_id, count in zip(image_ids, counts, strict=True):
            for number in range(count):
                text = f"{rng.choice(OPENINGS)} {rng.choice(NOUNS)} {rng.choice(NOUNS)}{rng.choice(ENDINGS)}"
                official = rng.choice(COMMON) if rng.random() < 0.7 else rng.choice(rare)
                said = [official] * 6 + [rng.choice(rare) for _ in range(4)]
                answers = ", ".join(
                    f'{{"answer": "{answer}", "answer_confidence": "yes", "answer_id": {place}}}'
                    for place, answer in enumerate(said, start=1)
                )
                ids = f'"image_id": {image_id}, "question_id": {1000 * image_id + number}'
                asked.write(f'{comma}{{{ids}, "question": "{text}"}}')
                answered.write(
                    f'{comma}{{"question_type": "what is the", "multiple_choice_answer": "{official}", '
                    f'"answers": [{answers}], "answer_type": "other", {ids}}}'
                )
                comma = ", "
        asked.write("]}")
        answered.write("]}")


def write_features(path: Path, seed: int, questions: int) -> None:
    import numpy as np

    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(questions, SAMPLER_WIDTH))
    rng = np.random.default_rng(seed)
    for start in range(0, questions, 1 << 15):
        part = rng.standard_normal((min(1 << 15, questions - start), SAMPLER_WIDTH), dtype=np.float32)
        array[start : start + len(part)] = part / np.linalg.norm(part, axis=1, keepdims=True)
    array.flush()


if __name__ == "__main__":
    main()
