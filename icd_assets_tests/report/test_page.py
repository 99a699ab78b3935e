"""What all pages rest on: data that no text can break out of, pictures within a budget, charts with axes."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from icd_assets.report.charts import by_epoch, by_shots
from icd_assets.report.gallery import Row, gallery
from icd_assets.report.page import as_data
from icd_assets.report.thumbnails import thumbnails

HOSTILE = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<!--<script>",
    "{{ 7 * 7 }}{% raw %}",
    "a\u2028b\u2029c\x00\x1b[31m",
    "\u202egnp.exe",
)


def photo(path: Path, seed: int, size: tuple[int, int] = (320, 240)) -> Path:
    """A picture with as much detail as a photograph: noise at several scales."""
    rng = np.random.default_rng(seed)
    noise = (Image.fromarray(rng.integers(0, 256, (n, n, 3), dtype=np.uint8)) for n in (4, 16, 64))
    layers = [np.asarray(one.resize(size, Image.Resampling.BICUBIC)) for one in noise]
    Image.fromarray(np.mean(layers, axis=0).astype(np.uint8)).save(path, quality=90)
    return path


@pytest.mark.parametrize("text", HOSTILE)
def test_data_in_a_page_comes_back_and_ends_no_element(text: str) -> None:
    written = as_data({text: [text]})
    assert json.loads(written) == {text: [text]}
    assert not re.search("[<>&\u2028\u2029]", written)


def test_thumbnails_take_the_largest_size_that_fits(tmp_path: Path) -> None:
    paths = [photo(tmp_path / f"{n}.jpg", n) for n in range(12)]
    large, small = thumbnails(paths, 10_000_000, 12), thumbnails(paths, 30_000, 4)
    assert (large.sides[0], large.left_out) == (160, 0)
    assert (
        160 > small.sides[0] > small.sides[1]
        and small.left_out == 0
        and sum(len(url or "") for url in small.urls) <= 30_000
    )
    with Image.open(io.BytesIO(base64.b64decode((small.urls[0] or "").partition(",")[2]))) as picture:
        assert max(picture.size) == small.sides[0] and picture.format == "WEBP"


def test_what_does_not_fit_at_all_is_left_out_from_the_end(tmp_path: Path) -> None:
    paths = [photo(tmp_path / f"{n}.jpg", n) for n in range(12)]
    found = thumbnails(paths, 3_000, 12)
    kept = [url is not None for url in found.urls]
    assert kept[0] and not kept[-1] and found.left_out == kept.count(False)
    assert sum(len(url or "") for url in found.urls) <= 3_000


def test_a_picture_that_is_none_is_no_error(tmp_path: Path) -> None:
    good, torn, text = (photo(tmp_path / f"{name}.jpg", 0) for name in ("good", "torn", "text"))
    torn.write_bytes(torn.read_bytes()[:500])
    text.write_text("<svg onload=alert(1)>")
    found = thumbnails([torn, good, text, tmp_path / "gone.jpg", None], 100_000, 5)
    assert [url is not None for url in found.urls] == [False, True, False, False, False]
    assert found.unreadable == 4


class Nowhere:
    def of_question(self, question_id: int | str) -> None:
        return None

    def of_demonstration(self, row: int) -> None:
        return None


def prediction(question_id: int, answer: str, score: float, shown: Sequence[tuple[int, str]] = ()) -> Row:
    return {
        "question_id": question_id,
        "question": "what?",
        "gold": "dog",
        "answers": ["dog", "cat"],
        "question_type": "what",
        "answer_type": "other",
        "demonstrations": [{"row": row, "question": "and?", "answer": text} for row, text in shown],
        "raw": f" {answer}\n",
        "answer": answer,
        "score": score,
    }


def test_the_gallery_joins_sides_by_question() -> None:
    sides = {
        "a": [
            prediction(1, "dog", 1.0, [(7, "dog"), (9, "cat")]),
            prediction(2, "cat", 0.3, [(7, "dog"), (8, "x")]),
        ],
        "b": [prediction(2, "cow", 0.0, [(7, "another label")])],
    }
    data = gallery(sides, Nowhere(), shown=("a", "b")).data
    assert [question[0] for question in data["questions"]] == [1, 2]
    assert data["chosen"][0][0] == [1.0, "dog", [0, 1]]
    assert data["chosen"][1] == [None, [0.0, "cow", [3]]]
    assert [(row, answer) for _, answer, _, row in data["demonstrations"]] == [
        *((7, "dog"), (9, "cat"), (8, "x"), (7, "another label")),
    ]


def test_what_the_model_wrote_is_kept_where_it_is_not_what_was_scored() -> None:
    row = {**prediction(1, "dog", 1.0), "raw": "dog\nQuestion:"}
    (chosen,) = gallery({"a": [row]}, Nowhere(), shown=("a", "a")).data["chosen"]
    assert chosen == [[1.0, "dog", [], "dog\nQuestion:"]]


@pytest.mark.parametrize("values", [[1.0], [1.0, float("nan"), 0.5], [0.1] * 400, [float("inf")] * 3])
def test_a_curve_has_axes_and_words(values: list[float]) -> None:
    chart = by_epoch(values, "reward", kept=1)
    assert "epoch" in chart.svg and "reward by epoch" in chart.label and f"{len(values)} epochs" in chart.label


@pytest.mark.parametrize("text", HOSTILE[:4])
def test_names_in_charts_stay_texts(text: str) -> None:
    chart = by_shots({text: {1: (0.5, 0.4, 0.6), 2: (0.6, 0.5, 0.7)}}, "accuracy %")
    assert not re.search("<(script|img|!--)", chart.svg)
