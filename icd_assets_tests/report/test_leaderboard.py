"""Evaluations on the same questions stand in one table, seeds are averaged, and damage hides nobody else."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from icd_assets.evaluation.paired import paired
from icd_assets.report.leaderboard import leaderboard
from icd_assets.report.leaderboard_page import render
from icd_assets.store.store import Store
from icd_assets_tests.report.test_compare import FIRST, PROMPT, SECOND, drawn, evaluation, record


def cell(root: Path, folder: str, scores: Sequence[float], seed: int = 42) -> Path:
    """An evaluated experiment in its place."""
    found = evaluation(root / "demo/icl_inference" / folder, scores)
    made = record(PROMPT) | {"cell": "demo|RandSampler/tiny_vl"}
    made["want"]["config"] = {**PROMPT, "seed": seed}
    (found / "evaluation.manifest.json").write_text(json.dumps(made), encoding="utf-8")
    return found


def test_best_first_and_paired_with_the_first(tmp_path: Path) -> None:
    cell(tmp_path, "v3_RandSampler_tiny_vl", FIRST)
    cell(tmp_path, "v3_RandSampler_tiny_vl_more", SECOND)
    ((board,), problems) = leaderboard(Store(tmp_path))
    assert problems == []
    (best, none), (other, gain) = board.rows
    assert best.strategy == "RandSampler_tiny_vl_more: GRPO" and none is None
    assert other.strategy == "RandSampler_tiny_vl: GRPO" and gain is not None
    images = [at // 2 for at in range(len(FIRST))]
    assert gain.difference == paired(np.array(FIRST) - np.array(SECOND), images).interval
    assert board.table()[1][1][4] == f"{100 * (gain.detectable or 0):.1f}"
    assert "| 1 | RandSampler_tiny_vl_more: GRPO " in board.markdown()
    assert [row["evaluation"] for row in board.as_json()["rows"]] == [best.strategy, other.strategy]


def test_seeds_of_one_experiment_are_averaged(tmp_path: Path) -> None:
    (tmp_path / ".icd_assets").mkdir()
    cell(tmp_path, "v3_RandSampler_tiny_vl", FIRST)
    cell(tmp_path / "seeds/43", "v3_RandSampler_tiny_vl", SECOND, seed=43)
    ((board,), _) = leaderboard(Store(tmp_path))
    ((row, _),) = board.rows
    assert board.seeds[row.strategy] == (42, 43)
    assert row.score.value == pytest.approx(statistics.fmean((*FIRST, *SECOND)), abs=1e-6)


def test_other_questions_stand_in_another_table(tmp_path: Path) -> None:
    cell(tmp_path, "v3_RandSampler_tiny_vl", FIRST)
    cell(tmp_path, "v3_RandSampler_tiny_vl_few", drawn(3, 0.5)[:40])
    boards, _ = leaderboard(Store(tmp_path))
    assert sorted(board.comparison.num_queries for board in boards) == [40, len(FIRST)]


def test_a_damaged_one_is_named_and_hides_nobody(tmp_path: Path) -> None:
    cell(tmp_path, "v3_RandSampler_tiny_vl", FIRST)
    torn = cell(tmp_path, "v3_RandSampler_tiny_vl_torn", SECOND) / "predictions.parquet"
    torn.write_bytes(torn.read_bytes()[:100])
    (cell(tmp_path, "v3_RandSampler_tiny_vl_old", SECOND) / "predictions.parquet").unlink()
    (cell(tmp_path, "v3_RandSampler_tiny_vl_odd", SECOND) / "evaluation.manifest.json").write_text("[]")
    ((board,), problems) = leaderboard(Store(tmp_path))
    assert [row.strategy for row, _ in board.rows] == ["RandSampler_tiny_vl: GRPO"]
    assert len(problems) == 3 and any("cannot be read as Parquet" in problem for problem in problems)


def rewritten(folder: Path, how: str) -> Path:
    """Its table of predictions with one thing changed."""
    path = folder / "predictions.parquet"
    table = pq.read_table(path)
    rows = table.to_pylist()
    match how:
        case "order":
            rows.reverse()
        case "gold":
            rows = [{**row, "answers": ["bird"]} for row in rows]
        case "twice":
            rows += rows
        case "percent":
            rows = [{**row, "score": 100 * row["score"]} for row in rows]
        case "strategy":
            rows = [row for row in rows if row["strategy"] == "random"]
    pq.write_table(pa.Table.from_pylist(rows, table.schema), path)
    return folder


def test_the_order_of_rows_is_no_matter(tmp_path: Path) -> None:
    cell(tmp_path, "v3_RandSampler_tiny_vl", FIRST)
    rewritten(cell(tmp_path, "v3_RandSampler_tiny_vl_more", SECOND), "order")
    ((board,), _) = leaderboard(Store(tmp_path))
    gain = board.rows[1][1]
    images = [at // 2 for at in range(len(FIRST))]
    assert gain is not None and gain.difference == paired(np.array(FIRST) - np.array(SECOND), images).interval


def test_other_gold_answers_stand_in_another_table(tmp_path: Path) -> None:
    cell(tmp_path, "v3_RandSampler_tiny_vl", FIRST)
    rewritten(cell(tmp_path, "v3_RandSampler_tiny_vl_more", SECOND), "gold")
    boards, problems = leaderboard(Store(tmp_path))
    assert [len(board.rows) for board in boards] == [1, 1] and problems == []


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("twice", "answers a question twice"),
        ("percent", "has the score 100, but accuracy goes from 0 to 1"),
        ("strategy", "has no GRPO at 2 shots"),
    ],
)
def test_a_hostile_one_is_named_and_hides_nobody(tmp_path: Path, how: str, says: str) -> None:
    cell(tmp_path, "v3_RandSampler_tiny_vl", FIRST)
    rewritten(cell(tmp_path, "v3_RandSampler_tiny_vl_odd", SECOND), how)
    ((board,), problems) = leaderboard(Store(tmp_path))
    assert len(board.rows) == 1 and len(problems) == 1 and says in problems[0]


def test_what_was_changed_since_is_in_no_table(tmp_path: Path) -> None:
    folder = cell(tmp_path, "v3_RandSampler_tiny_vl", FIRST)
    path = folder / "evaluation.manifest.json"
    made = json.loads(path.read_text())
    made["files"] = [
        {"path": f"demo/icl_inference/{folder.name}/predictions.parquet", "size": 1, "sha256": "0" * 64}
    ]
    path.write_text(json.dumps(made), encoding="utf-8")
    boards, (problem,) = leaderboard(Store(tmp_path))
    assert boards == [] and "is no longer what evaluation wrote" in problem


def test_a_seed_that_lies_in_two_places_counts_once(tmp_path: Path) -> None:
    (tmp_path / ".icd_assets").mkdir()
    cell(tmp_path, "v3_RandSampler_tiny_vl", FIRST, seed=43)
    cell(tmp_path / "seeds/43", "v3_RandSampler_tiny_vl", SECOND, seed=43)
    ((board,), _) = leaderboard(Store(tmp_path))
    ((row, _),) = board.rows
    assert board.seeds[row.strategy] == (43,)
    assert row.score.value == pytest.approx(statistics.fmean(FIRST), abs=1e-6)


def test_the_page_holds_every_row_as_text(tmp_path: Path) -> None:
    cell(tmp_path, "v3_RandSampler_tiny_vl_<script>", FIRST)
    boards, _ = leaderboard(Store(tmp_path))
    page = render(boards)
    assert "&lt;script&gt;: GRPO" in page and "<script" not in page.partition("<body>")[2]
