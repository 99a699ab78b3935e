"""``predictions.parquet`` of an evaluation."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

from icd_assets.datasets.vqa import VqaItem
from icd_assets.evaluation.evaluate import Outcome, Prediction
from icd_assets.evaluation.predictions import (
    COLUMNS,
    gold_answers,
    read_predictions,
    read_scores,
    write_predictions,
)

SUFFIX = ".parquet"


def seeds() -> Iterable[bytes]:
    images = Path("/no/such")
    items = [
        VqaItem(n, n, n, "what?", "dog", ("dog", "cat"), "what", "other", images / f"{n}.png") for n in range(4)
    ]
    found = Prediction(1, 1, "random", 1, (2,), ("dog",), "raw", "answer", 0.5, False, False)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "predictions.parquet"
        write_predictions(path, [Outcome("random", 1, (found,))], items, items, folders=(images, images))
        yield path.read_bytes()


def read(path: Path) -> object:
    read_scores(path)
    gold_answers(path)
    return read_predictions(path, COLUMNS).to_pylist()
