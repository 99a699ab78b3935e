"""What surrounds the model: the accuracy of an answer, and commands that compute nothing.

    python benchmarks/everyday.py [--answers 20000]

Accuracy, beside work of upstream's shape (SPEC G.5, O.14): for each answer it reads and indexes the official
files, here those of a split of OK-VQA's size, 9,009 questions. Commands are processes of their own, from the start
of Python to its end; `status` looks at 100 cells of nine artifacts. Medians.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from status_100_cells import COMMANDS, seconds_of
from vqav2_scale import write_dataset

from icd_assets.evaluation.tables import text_table
from icd_assets.tasks.vqa.metric import VqaAccuracy
from icd_assets_tests.worlds.manifests import hundred_cells

QUESTIONS, RUNS = 9009, 5


def upstreams_shape(folder: Path, question_id: int, answer: str) -> float:
    """The files are read, and an index of all questions is built, for one answer."""
    asked = {one["question_id"]: one for one in json.loads((folder / "questions.json").read_text())["questions"]}
    known = json.loads((folder / "annotations.json").read_text())["annotations"]
    answered = {one["question_id"]: one for one in known}
    assert question_id in asked
    golds = [gold["answer"] for gold in answered[question_id]["answers"]]
    return VqaAccuracy().scores([answer], [golds])[0]


def seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answers", type=int, default=20_000)
    count = parser.parse_args().answers
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_dataset(folder / "questions.json", folder / "annotations.json", QUESTIONS)
        known = json.loads((folder / "annotations.json").read_text())["annotations"]
        golds = [[gold["answer"] for gold in one["answers"]] for one in known]
        asked = [rng.randrange(QUESTIONS) for _ in range(count)]
        given = [rng.choice(golds[at]) if rng.random() < 0.5 else rng.choice(golds[0]) for at in asked]
        slow, fast = [], []
        for _ in range(RUNS):
            one = known[asked[0]]["question_id"]
            slow.append(seconds(lambda: upstreams_shape(folder, one, given[0])))  # noqa: B023
            fast.append(seconds(lambda: VqaAccuracy().scores(given, [golds[at] for at in asked])) / count)
    plain, ours = statistics.median(slow), statistics.median(fast)
    cells = [f"{1e3 * plain:,.0f} ms", f"{1e3 * ours:.3f} ms", f"{plain / ours:,.0f}"]
    print(text_table(["", "files read for each", "ours", "ratio"], [["accuracy of an answer", *cells]]), "\n")
    with tempfile.TemporaryDirectory() as name:
        world = hundred_cells(Path(name), 4096)
        lines = [
            [command, *(f"{each:.2f}" for each in seconds_of(world, *COMMANDS[command]))] for command in COMMANDS
        ]
    print(text_table(["command", "seconds", "CPU seconds"], lines))


if __name__ == "__main__":
    main()
