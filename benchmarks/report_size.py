"""The report of many questions: bytes, seconds to write it, seconds until a browser shows its first question.

    python benchmarks/report_size.py

Takes the demo's cell, which must be made (``make demo``). Its page gets other questions: 300 and 5,000 of them,
each with 16 strategies of two demonstrations out of 9,000, and every picture as full of detail as a photograph of
COCO's size. The ratio is to the limits: 5 MB for 300 questions, 25 MB and two seconds for 5,000. Opening is timed
in the Chromium of the system, from the address to the first card with its pictures.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import icd_assets
from icd_assets.evaluation.tables import text_table
from icd_assets.report.cell_report import content, page
from icd_assets.report.gallery import gallery
from icd_assets.runtime.seeding import python_rng
from icd_assets_tests.report.test_page import photo
from icd_assets_tests.worlds.chromium import chromium

LIBRARY, SIDES, RUNS = 9_000, 16, 5
LIMITS = {300: (5e6, 2.0), 5_000: (25e6, 2.0)}
PHOTOS = 400  # different ones: each is read and made small as often as it would be with files of its own


class Photos:
    """A picture for every question and every row of the library."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for number in range(PHOTOS):
            photo(folder / f"{number}.jpg", number, (640, 480))

    def of_question(self, question_id: int | str) -> Path:
        return self._named(int(question_id))

    def of_demonstration(self, row: int) -> Path:
        return self._named(row + 1_000_000)

    def _named(self, number: int) -> Path:
        path = self._folder / f"as-{number}.jpg"
        if not path.exists():
            path.symlink_to(self._folder / f"{number % PHOTOS}.jpg")
        return path


def sides(questions: int) -> dict[str, list[Mapping[str, Any]]]:
    """Predictions of every strategy: two random rows of the library for each question."""
    rng = python_rng(0, "report", questions)
    return {f"strategy {side}": [row(number, rng) for number in range(questions)] for side in range(SIDES)}


def row(number: int, rng: Any) -> Mapping[str, Any]:
    shown = rng.sample(range(LIBRARY), 2)
    question = f"What is the person number {number} holding in the left hand?"
    return {
        "question_id": number,
        "question": question,
        "gold": "umbrella",
        "answers": ["umbrella", "an umbrella", "parasol", "stick"],
        "question_type": "what is the",
        "answer_type": "other",
        "demonstrations": [
            {"row": one, "question": f"What is object {one} made of?", "answer": f"wood {one}"} for one in shown
        ],
        "raw": "umbrella",
        "answer": "umbrella",
        "score": rng.choice((0.0, 0.3, 0.6, 1.0)),
    }


def opening(browser: Any, path: Path) -> float:
    seconds = []
    for _ in range(RUNS):
        shown = browser.new_context().new_page()
        start = time.perf_counter()
        shown.goto(path.as_uri())
        shown.wait_for_function("document.querySelector('article img')?.complete")
        seconds.append(time.perf_counter() - start)
        shown.context.close()
    return statistics.median(seconds)


def main() -> None:
    found = content(icd_assets.open_cell("demo", "rand_sampler", "tiny_vl"))
    lines = []
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        pictures = Photos(Path(folder))
        for questions, (most, slowest) in LIMITS.items():
            print(f"{questions} questions …", file=sys.stderr)
            shown: Sequence[str] = [f"strategy {side}" for side in range(2)]
            start = time.perf_counter()
            made = gallery(sides(questions), pictures, shown=(shown[0], shown[1]))
            path = Path(folder) / f"{questions}.html"
            path.write_text(page(found, made), encoding="utf-8")
            seconds, size, opened = time.perf_counter() - start, path.stat().st_size, opening(browser, path)
            lines.append(
                [
                    f"{questions:,}",
                    f"{size / 1e6:.1f} MB ({size / most:.2f} of the limit)",
                    f"{opened:.2f} s ({opened / slowest:.2f})",
                    f"{made.pictures.sides[0]} and {made.pictures.sides[1]} px, {made.pictures.left_out} left out",
                    f"{seconds:.0f} s",
                ]
            )
    print(text_table(["questions", "size", "opens in", "pictures", "written in"], lines))


if __name__ == "__main__":
    main()
