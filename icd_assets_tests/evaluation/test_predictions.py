"""The table of predictions: every answer comes back as it was, and files that are none are refused in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from icd_assets.datasets.vqa import VqaItem
from icd_assets.errors import UserError
from icd_assets.evaluation.evaluate import Outcome
from icd_assets.evaluation.predictions import (
    COLUMNS,
    gold_answers,
    is_table,
    read_predictions,
    read_scores,
    write_predictions,
)
from icd_assets_tests.evaluation.test_report import OUTCOMES, outcome

ODD = "a\u2028b\x85c </script> \x1b[31m é"


def written_predictions(path: Path, outcomes: Sequence[Outcome], text_ids: bool = False) -> None:
    """As the asset writes them, of questions made up for the outcomes."""
    asked = outcomes[0].predictions
    queries = [
        replace(item(at, 10 * at, Path("/data/val")), image_id=one.image_id) for at, one in enumerate(asked)
    ]
    library = [item(at, f"q{at}" if text_ids else at, Path("/data/train")) for at in range(len(asked))]
    write_predictions(path, outcomes, queries, library, folders=(Path("/data/val"), Path("/data/train")))


def item(row: int, question_id: int | str, folder: Path) -> VqaItem:
    return VqaItem(row, question_id, row, ODD, "dog", ("dog", "cat"), "what", "other", folder / "a" / f"{row}.png")


def test_every_prediction_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    written_predictions(path, OUTCOMES)
    rows = read_predictions(path).to_pylist()
    assert len(rows) == 20
    shown = {"row": 3, "question_id": 3, "image": "a/3.png", "question": ODD, "answer": "é"}
    assert rows[-1] == {
        "strategy": "selector",
        "shots": 2,
        "question_id": 30,
        "image_id": 3,
        "image": "a/3.png",
        "question": ODD,
        "gold": "dog",
        "answers": ["dog", "cat"],
        "question_type": "what",
        "answer_type": "other",
        "demonstrations": [shown, shown],
        "raw": "raw",
        "answer": "answer",
        "score": 0.9,
        "copied": False,
        "gold_shown": False,
    }
    assert read_scores(path)["selector", 2].scores == [1.0, 0.6, 1.0, 0.9]


def test_equal_predictions_are_equal_bytes(tmp_path: Path) -> None:
    for name in "ab":
        written_predictions(tmp_path / name, OUTCOMES)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_texts_as_ids_of_demonstrations(tmp_path: Path) -> None:
    written_predictions(tmp_path / "p", OUTCOMES, text_ids=True)
    (last,) = read_predictions(tmp_path / "p").slice(19).to_pylist()
    assert last["demonstrations"][0]["question_id"] == "q3" and last["question_id"] == 30


def test_a_picture_outside_its_folder_keeps_its_path(tmp_path: Path) -> None:
    queries = [item(0, 0, Path("/elsewhere"))]
    write_predictions(tmp_path / "p", [outcome("zero-shot", 0, [1.0])], queries, [], folders=(tmp_path, tmp_path))
    assert read_predictions(tmp_path / "p")["image"].to_pylist() == ["/elsewhere/a/0.png"]


def damaged(path: Path, how: str) -> None:
    whole, table = path.read_bytes(), pq.read_table(path)
    match how:
        case "cut off":
            path.write_bytes(whole[: len(whole) // 2])
        case "foreign":
            path.write_text('{"question_id": 1}\n')
        case "empty":
            path.write_bytes(b"")
        case "no score":
            pq.write_table(table.drop_columns("score"), path)
        case "texts":
            texts = pa.array(["1"] * len(table))
            pq.write_table(table.drop_columns("score").append_column("score", texts), path)
        case "truths":
            pq.write_table(table.drop_columns("score").append_column("score", table["copied"]), path)
        case "no number":
            scores = pa.array([float("nan")] * len(table))
            pq.write_table(table.drop_columns("score").append_column("score", scores), path)
        case "a hole":
            ids = pa.array([None, *range(1, len(table))], pa.int64())
            pq.write_table(table.drop_columns("question_id").append_column("question_id", ids), path)
        case "twice":
            pq.write_table(pa.concat_tables([table, table]), path)
        case "gone":
            path.unlink()
        case "folder":
            path.unlink()
            path.mkdir()


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("cut off", "cannot be read as Parquet"),
        ("foreign", "cannot be read as Parquet"),
        ("empty", "cannot be read as Parquet"),
        ("no score", "it has no column 'score'"),
        ("texts", "its column 'score' holds string"),
        ("truths", "its column 'score' holds bool"),
        ("no number", "a row has no score"),
        ("a hole", "a row has no question_id"),
        ("twice", "answers a question twice"),
        ("gone", "does not exist"),
        ("folder", "cannot be read as Parquet"),
    ],
)
def test_files_that_are_none(tmp_path: Path, how: str, says: str) -> None:
    path = tmp_path / "predictions.parquet"
    written_predictions(path, OUTCOMES)
    damaged(path, how)
    with pytest.raises(UserError, match=f"predictions.parquet.*{says}.*evaluate again"):
        read_scores(path)


@pytest.mark.parametrize(
    ("name", "values", "says"),
    [
        ("answers", ["dog"] * 20, "its column 'answers' holds string"),
        ("answers", [["dog", None]] * 20, "a row has no answers"),
        ("answers", [[1]] * 20, "its column 'answers' holds list"),
        ("demonstrations", [[{"row": 1}]] * 20, "its column 'demonstrations' holds list"),
        ("demonstrations", [[None]] * 20, "its column 'demonstrations' holds list"),
        ("question", [1] * 20, "its column 'question' holds int64"),
        ("raw", ["a", None] * 10, "a row has no raw"),
        ("copied", [1] * 20, "its column 'copied' holds int64"),
    ],
)
def test_whole_tables_of_others(tmp_path: Path, name: str, values: list[Any], says: str) -> None:
    path = tmp_path / "predictions.parquet"
    written_predictions(path, OUTCOMES)
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(name).append_column(name, pa.array(values)), path)
    with pytest.raises(UserError, match=says):
        read_predictions(path, COLUMNS)


def test_tables_that_another_library_wrote_again(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    written_predictions(path, OUTCOMES)
    table = pq.read_table(path)
    large = pa.array(table["answers"].to_pylist(), pa.large_list(pa.large_string()))
    pq.write_table(table.drop_columns("answers").append_column("answers", large), path)
    assert is_table(path)
    assert read_predictions(path, COLUMNS).to_pylist() == table.select(COLUMNS).to_pylist()
    assert not is_table(tmp_path / "none") and not is_table(Path(__file__))
    assert gold_answers(path) == {id: ["dog", "cat"] for id in (0, 10, 20, 30)}
