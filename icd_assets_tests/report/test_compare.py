"""Sides are joined by question, differences are paired, and what cannot be compared is refused in one sentence."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from icd_assets.errors import UserError
from icd_assets.evaluation.compare import compare
from icd_assets.evaluation.config import EvaluationConfig
from icd_assets.evaluation.earlier import RECORD, earlier, keep
from icd_assets.evaluation.paired import paired
from icd_assets.lineage import Records
from icd_assets.report.compare_report import render
from icd_assets.report.compare_sides import Compared, compare_sides
from icd_assets.report.sides import completed, of_path
from icd_assets.store.atomic import write_atomic
from icd_assets.store.digests import sha256_file, sha256_json
from icd_assets.store.manifest import Manifest
from icd_assets.store.store import Store
from icd_assets.tasks.caption.metric import Cider
from icd_assets_tests.evaluation.test_predictions import written_predictions
from icd_assets_tests.evaluation.test_report import outcome

N = 60


def drawn(seed: int, share: float) -> list[float]:
    return [float(value) for value in np.random.default_rng(seed).random(N) < share]


FIRST, SECOND = drawn(1, 0.4), drawn(2, 0.7)


def evaluation(folder: Path, scores: Sequence[float], strategy: str = "GRPO") -> Path:
    """An evaluation's folder without a record, two questions on each image."""
    folder.mkdir(parents=True, exist_ok=True)
    outcomes = [outcome("random", 2, drawn(9, 0.3)[: len(scores)], 2), outcome(strategy, 2, list(scores), 2)]
    written_predictions(folder / "predictions.parquet", outcomes)
    config = EvaluationConfig(shot_counts=[2])
    compare(outcomes, config, ("random",), recommended=[strategy]).write(folder / "comparison.json")
    return folder


def theirs(path: Path, records: Any) -> Path:
    path.write_text(json.dumps(records), encoding="utf-8")
    return path


def compared(store: Path, *paths: Path, **options: Any) -> Compared:
    records = Records(Store(store))
    strategies = options.pop("strategies", [None] * len(paths))
    sides = [of_path(path, records, name, None) for path, name in zip(paths, strategies, strict=True)]
    return compare_sides(completed(sides, None), records, **options)


def test_the_difference_is_that_of_the_questions_in_pairs(tmp_path: Path) -> None:
    one, other = evaluation(tmp_path / "a", FIRST), evaluation(tmp_path / "b", SECOND)
    found = compared(tmp_path, one, other)
    (row,) = found.comparison.family
    gains = np.array(SECOND) - np.array(FIRST)
    assert row.difference == paired(gains, [at // 2 for at in range(N)]).interval
    (flips,) = found.flips
    assert (flips.better, flips.worse) == (int((gains > 0).sum()), int((gains < 0).sum()))
    assert "B: GRPO is better than A: GRPO by" in found.sentences[0]
    assert "| A: GRPO | " in found.markdown() and found.as_json()["flips"][0]["better"] == flips.better


def test_questions_are_joined_by_their_ids_whatever_the_order_and_the_type(tmp_path: Path) -> None:
    one = evaluation(tmp_path / "a", FIRST)
    records = [{"question_id": str(10 * at), "score": SECOND[at]} for at in reversed(range(N))]
    by_score = compared(tmp_path, one, theirs(tmp_path / "theirs.json", records))
    gains = np.array(SECOND) - np.array(FIRST)
    assert by_score.comparison.family[0].difference.value == pytest.approx(gains.mean(), abs=1e-6)


def test_answers_without_scores_are_scored_against_the_gold_answers(tmp_path: Path) -> None:
    one = evaluation(tmp_path / "a", FIRST)  # gold: dog and cat
    answers = [{"question_id": 10 * at, "answer": "a Dog." if at % 2 else "cow"} for at in range(N)]
    for name, content in {
        "theirs.json": json.dumps(answers),
        "theirs.jsonl": "\n".join(map(json.dumps, answers)),
        "theirs.csv": "question_id,answer\n" + "\n".join(f"{r['question_id']},{r['answer']}" for r in answers),
    }.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
        found = compared(tmp_path, one, tmp_path / name)
        right = [row["score"] for row in found.rows["B: theirs"]]
        assert right[0] == 0 and len({*right[1::2]}) == 1 and right[1] > 0, name


def test_our_former_lines_are_read(tmp_path: Path) -> None:
    lines = [
        {"question_id": 10 * at, "image_id": at, "strategy": name, "shots": 2, "score": score, "answer": "x"}
        for name, scores in (("random", FIRST), ("GRPO", SECOND))
        for at, score in enumerate(scores)
    ]
    path = tmp_path / "predictions.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    one = evaluation(tmp_path / "a", FIRST)
    assert compared(tmp_path, one, path, strategies=[None, "GRPO"]).flips[0].better > 0
    with pytest.raises(UserError, match="has the answers of random, GRPO; say which with --strategy"):
        compared(tmp_path, one, path)


def test_of_several_sides_each_is_against_the_first_and_holm_counts_them_all(tmp_path: Path) -> None:
    folders = [
        evaluation(tmp_path / name, scores) for name, scores in zip("abc", (FIRST, SECOND, FIRST), strict=True)
    ]
    found = compared(tmp_path, *folders)
    assert [row.strategy for row in found.comparison.family] == ["B: GRPO", "C: GRPO"]
    better, same = found.comparison.family
    assert better.p_holm == pytest.approx(min(1, 2 * (better.p_value or 0))) and same.changed == 0


def test_other_questions_are_refused_or_left_out(tmp_path: Path) -> None:
    one = evaluation(tmp_path / "a", FIRST)
    few = theirs(tmp_path / "few.json", [{"question_id": 10 * at, "score": 1.0} for at in range(N - 7)])
    with pytest.raises(UserError, match=r"^7 questions of .* are not in .*few\.json .*--common\.$"):
        compared(tmp_path, one, few)
    found = compared(tmp_path, one, few, common=True)
    assert found.comparison.num_queries == N - 7
    assert found.sentences[0] == "7 questions that not all sides answered are left out."
    assert "**7 questions that not all sides answered are left out.**" in found.markdown().partition("| side")[0]
    none = theirs(tmp_path / "none.json", [{"question_id": "elsewhere", "score": 1.0}])
    with pytest.raises(UserError, match="no question in common"):
        compared(tmp_path, one, none, common=True)


def test_other_gold_answers_are_refused(tmp_path: Path) -> None:
    one, other = evaluation(tmp_path / "a", FIRST), evaluation(tmp_path / "b", SECOND)
    path = other / "predictions.parquet"
    rows = pq.read_table(path)
    changed = rows.to_pylist()
    changed[-1]["answers"] = ["bird"]
    pq.write_table(rows.from_pylist(changed, rows.schema), path)
    with pytest.raises(UserError, match="question 590 has other gold answers"):
        compared(tmp_path, one, other)


def record(config: dict[str, Any], vlm: str = "a") -> dict[str, Any]:
    given = {"vlm": {"data_version": vlm}}
    return {
        "want": {"asset": "evaluation", "code_version": "6", "config": config, "inputs": given},
        "config_digest": "0",
        "data_version": sha256_json([config, vlm]),
        "files": [],
        "facts": {},
        "cell": "demo|RandSampler/tiny_vl",
        "run_id": "run",
        "created_at": "2026-01-02T03:04:05+00:00",
        "seconds": 1.0,
        "environment": {"device": "cpu"},
    }


PROMPT = {"generation": {"num_beams": 1}, "vlm": {"prompt": {"layout": "turns"}, "batch_size": 8}}


@pytest.mark.parametrize(
    ("config", "vlm", "named"),
    [
        (PROMPT, "b", "vlm"),
        ({**PROMPT, "generation": {"num_beams": 3}}, "a", "generation"),
        ({**PROMPT, "vlm": {"prompt": {"layout": "interleaved"}, "batch_size": 8}}, "a", "vlm.prompt"),
        ({**PROMPT, "vlm": {**PROMPT["vlm"], "batch_size": 64}}, "a", None),
    ],
)
def test_a_model_that_was_asked_otherwise_is_refused(
    tmp_path: Path, config: dict[str, Any], vlm: str, named: str | None
) -> None:
    folders = [evaluation(tmp_path / name, scores) for name, scores in zip("ab", (FIRST, SECOND), strict=True)]
    for folder, made in zip(folders, (record(PROMPT), record(config, vlm)), strict=True):
        (folder / RECORD).write_text(json.dumps(made), encoding="utf-8")
    if named is None:
        assert compared(tmp_path, *folders).asked_otherwise == ()
        return
    with pytest.raises(UserError, match=rf"asked the model otherwise than .* \({named}\).*--anyway"):
        compared(tmp_path, *folders)
    found = compared(tmp_path, *folders, anyway=True)
    assert found.sentences[0].startswith("Compared although")
    causes = [(*one.path, one.field) for one in found.causes["B: GRPO"] or ()]
    assert any(named.partition(".")[0] in ".".join(cause) for cause in causes), causes


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('[{"question_id": 10, "score": 100}]', "has the score 100, but accuracy goes from 0 to 1"),
        ('[{"question_id": 10, "score": -0.5}]', "has the score -0.5, but accuracy goes from 0 to 1"),
        ('[{"question_id": "\\ud800", "score": 1}]', "question_id holds half a character"),
        ('[{"question_id": 1, "answer": "\\udc00"}]', "answer holds half a character"),
        ('[{"question_id": 1.5, "score": 1}]', "has no question_id"),
        ('[{"question_id": 1, "score": [1]}]', "is no number"),
        ('[{"question_id": 1, "answer": 7}]', "neither an answer"),
        ("", "no JSON|empty|JSON"),
        ('[{"question_id": 1, "score": 1', "JSON"),
        ("7", "no list of records"),
        ('[{"score": 1}]', "has no question_id"),
        ('[{"question_id": true, "score": 1}]', "has no question_id"),
        ('[{"question_id": 1}]', "neither an answer"),
        ('[{"question_id": 1, "score": NaN}]', "is no number|NaN"),
        ('[{"question_id": 1, "score": "a lot"}]', "is no number"),
        ('[{"question_id": 1, "score": 1' + "0" * 400 + "}]", "is no number|number|digits"),
        ('[{"question_id": 1, "score": 1}, {"question_id": "1", "score": 1}]', "answers question 1 twice"),
        ('[{"question_id": 1, "answer": "x"}]', "no side has its gold answers"),
        ("[]", "has no answers"),
        ("[" * 100_000, "JSON|nested"),
    ],
)
def test_files_that_are_no_answers(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "theirs.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=says) as found:
        compared(tmp_path, path, evaluation(tmp_path / "a", FIRST), common=True)
    assert "\n" not in str(found.value) and len(str(found.value)) < 600


@pytest.mark.parametrize("how", ["no text", "a pipe", "a folder", "a link to nothing"])
def test_paths_that_are_no_files_of_answers(tmp_path: Path, how: str) -> None:
    path = tmp_path / "theirs.json"
    match how:
        case "no text":
            path.write_bytes(b'[{"question_id": 1, "answer": "caf\xe9"}]')
        case "a pipe":
            os.mkfifo(path)
        case "a folder":
            path.mkdir()
        case "a link to nothing":
            path.symlink_to(tmp_path / "gone")
    with pytest.raises(UserError, match=r"theirs\.json is (not UTF-8 text|neither an evaluation's folder)"):
        compared(tmp_path, evaluation(tmp_path / "a", FIRST), path)


def test_what_others_say_besides_is_no_matter(tmp_path: Path) -> None:
    records = [{"question_id": 10 * at, "score": 1, "raw": 5, "shots": None, "image_id": [1]} for at in range(N)]
    found = compared(tmp_path, evaluation(tmp_path / "a", FIRST), theirs(tmp_path / "theirs.json", records))
    assert "B: theirs" in render(found, None)


@pytest.mark.parametrize("name", ["copy.parquet", "predictions.parquet"])
def test_our_table_is_ours_under_any_name(tmp_path: Path, name: str) -> None:
    """With its images, by which intervals are clustered, and its gold answers."""
    (tmp_path / "copies").mkdir()
    copy = tmp_path / "copies" / name
    shutil.copy(evaluation(tmp_path / "a", FIRST) / "predictions.parquet", copy)
    answers = [{"question_id": 10 * at, "answer": "dog"} for at in range(N)]
    found = compared(
        tmp_path, copy, copy, theirs(tmp_path / "t.json", answers), strategies=["random", "GRPO", None]
    )
    gains = np.array(FIRST) - np.array(drawn(9, 0.3))
    assert found.comparison.family[0].difference == paired(gains, [at // 2 for at in range(N)]).interval
    assert found.comparison.num_images == N // 2 and {row["score"] for row in found.rows["C: t"]} != {0.0}


def test_a_table_of_ours_with_other_columns_is_refused(tmp_path: Path) -> None:
    path = evaluation(tmp_path / "a", FIRST) / "predictions.parquet"
    table = pq.read_table(path)
    for name, values in {"answers": [["dog", None]] * len(table), "demonstrations": [None] * len(table)}.items():
        at = table.schema.get_field_index(name)
        field = pa.field(name, table.schema.field(name).type)
        pq.write_table(table.set_column(at, field, pa.array(values, field.type)), path)
        with pytest.raises(UserError, match=f"a row has no {name}"):
            compared(tmp_path, path, path)


def test_images_of_our_former_lines_cluster_them(tmp_path: Path) -> None:
    for name, scores in (("a.jsonl", FIRST), ("b.jsonl", SECOND)):
        lines = [
            {"question_id": 10 * at, "image_id": at // 2, "strategy": "GRPO", "shots": 2, "score": score}
            for at, score in enumerate(scores)
        ]
        (tmp_path / name).write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    found = compared(tmp_path, tmp_path / "a.jsonl", tmp_path / "b.jsonl")
    assert found.comparison.num_images == N // 2
    bare = [{"question_id": 10 * at, "score": score} for at, score in enumerate(FIRST)]
    mixed = compared(tmp_path, theirs(tmp_path / "t.json", bare), tmp_path / "b.jsonl")
    assert mixed.comparison.family[0].difference == found.comparison.family[0].difference


def test_captions_of_others_are_scored_as_ours_were(tmp_path: Path) -> None:
    """CIDEr weighs words by the images of the evaluation: our own captions get our own scores again."""
    captions = [f"a {colour} {thing} on grass" for colour in ("red", "blue") for thing in ("dog", "cat", "star")]
    golds = [[caption, f"the {caption}"] for caption in captions]
    scores = Cider(golds).scores(captions[::-1], golds)
    folder = evaluation(tmp_path / "a", [0.0] * len(captions))
    path, summary = folder / "predictions.parquet", json.loads((folder / "comparison.json").read_text())
    table = pq.read_table(path)
    rows = [
        {**row, "answers": golds[at % 6], "answer": captions[5 - at % 6], "score": scores[at % 6]}
        for at, row in enumerate(table.to_pylist())
    ]
    pq.write_table(pa.Table.from_pylist(rows, table.schema), path)
    (folder / "comparison.json").write_text(json.dumps({**summary, "metric": "CIDEr"}))
    answers = [{"question_id": 10 * at, "answer": captions[5 - at]} for at in range(6)]
    found = compared(tmp_path, folder, theirs(tmp_path / "theirs.json", answers))
    assert [row["score"] for row in found.rows["B: theirs"]] == pytest.approx(scores)
    assert found.comparison.family[0].changed == 0 and max(scores) > 1


def test_scores_that_differ_by_rounding_are_no_flips(tmp_path: Path) -> None:
    one = evaluation(tmp_path / "a", [0.3] * N)
    records = [{"question_id": 10 * at, "score": 0.1 + 0.2} for at in range(N)]
    found = compared(tmp_path, one, theirs(tmp_path / "theirs.json", records))
    assert (found.flips[0].better, found.flips[0].worse, found.comparison.family[0].changed) == (0, 0, 0)


def test_names_that_are_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.bin").write_text("x")
    one = evaluation(tmp_path / "a", FIRST)
    with pytest.raises(UserError, match="is neither an evaluation's folder"):
        compared(tmp_path, one, tmp_path / "empty")
    with pytest.raises(UserError, match="no checkpoint that was made or adopted here"):
        compared(tmp_path, one, tmp_path / "text.bin")


def test_a_strategy_or_shots_that_it_does_not_have(tmp_path: Path) -> None:
    one = evaluation(tmp_path / "a", FIRST)
    records = Records(Store(tmp_path))
    with pytest.raises(UserError, match="has no strategy 'RCE'; it has random, GRPO"):
        of_path(one, records, "RCE", None)
    with pytest.raises(UserError, match="has GRPO at 2 shots; say which with --shots"):
        of_path(one, records, None, 4)


def test_the_page_has_the_questions_that_flipped(tmp_path: Path) -> None:
    found = compared(tmp_path, evaluation(tmp_path / "a", FIRST), evaluation(tmp_path / "b", SECOND))
    page = render(found, None)
    assert '"relation":"flipped"' in page and "\\u003c/script\\u003e" in page  # questions of test_predictions


def recorded(folder: Path, made: str, config: dict[str, Any] | None = None) -> Manifest:
    """The record of what lies in an evaluation's folder."""
    names = ("predictions.parquet", "comparison.json")
    files = [
        {"path": f"demo/{name}", "size": (folder / name).stat().st_size, "sha256": sha256_file(folder / name)}
        for name in names
    ]
    content = record(config or PROMPT) | {"files": files, "created_at": made, "data_version": files[0]["sha256"]}
    return Manifest.model_validate(content)


def test_an_evaluation_that_comes_back_is_kept_once(tmp_path: Path) -> None:
    """A, then B, then A again, then B: two are kept, and the last that was replaced is the first of them."""
    for day, scores in enumerate((FIRST, SECOND, FIRST, SECOND), 1):
        folder = evaluation(tmp_path / "a", scores)
        keep(folder, recorded(folder, f"2026-01-0{day}T03:04:05+00:00"))
    assert [one.manifest.created_at[:10] for one in earlier(folder)] == ["2026-01-04", "2026-01-03"]
    other = recorded(folder, "2026-01-05T03:04:05+00:00", {**PROMPT, "seed": 43})
    assert keep(folder, other) is not None and len(earlier(folder)) == 3  # the same answers, of other settings


@pytest.mark.parametrize("write", [1, 2, 3])
def test_killed_at_any_write_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: int) -> None:
    """A full disk, or the end, at each file: no half is taken for a whole, and the next run has it whole."""
    folder = evaluation(tmp_path / "a", FIRST)
    made, before = recorded(folder, "2026-01-01T03:04:05+00:00"), (folder / "predictions.parquet").read_bytes()
    written = []

    def killed(path: Path, content: Any) -> None:
        written.append(path)
        if len(written) == write:
            raise OSError(28, "No space left on device")
        write_atomic(path, content)

    with monkeypatch.context() as patched:
        patched.setattr("icd_assets.evaluation.earlier.write_atomic", killed)
        with pytest.raises(OSError, match="No space"):
            keep(folder, made)
    assert earlier(folder) == [] and (folder / "predictions.parquet").read_bytes() == before
    kept = keep(folder, made)
    assert kept is not None and [one.folder for one in earlier(folder)] == [kept]
    assert (kept / "predictions.parquet").read_bytes() == before


def test_what_is_not_as_recorded_is_not_kept(tmp_path: Path) -> None:
    folder = evaluation(tmp_path / "a", FIRST)
    made = recorded(folder, "2026-01-01T03:04:05+00:00")
    kept = keep(folder, made)
    assert kept is not None
    evaluation(folder, SECOND)
    assert keep(folder, made) is None
    (kept / "predictions.parquet").unlink()
    assert earlier(folder) == []
    shutil.copy(folder / "predictions.parquet", kept / "predictions.parquet")
    assert len(earlier(folder)) == 1
    with pytest.raises(UserError, match="is no longer what evaluation wrote"):
        of_path(kept, Records(Store(tmp_path)), None, None)
    (kept / RECORD).write_text("[" * 100_000)
    with pytest.raises(UserError, match="is no record of an evaluation"):
        of_path(kept, Records(Store(tmp_path)), None, None)
    assert earlier(folder) == []


def test_a_former_evaluation_is_kept_once_and_whole(tmp_path: Path) -> None:
    folder = evaluation(tmp_path / "a", FIRST)
    made = Manifest.model_validate(record(PROMPT))
    kept = keep(folder, made)
    assert kept is not None and kept.name.startswith("20260102T030405_")
    evaluation(folder, SECOND)
    assert keep(folder, made) == kept  # it is there: what replaced it does not go into its folder
    assert [row["score"] for row in of_path(kept, Records(Store(tmp_path)), None, None).rows.values()] == FIRST
    (kept / RECORD).unlink()  # killed before the record was written
    evaluation(folder, FIRST)
    keep(folder, made)
    assert (kept / RECORD).is_file()
    (folder / "comparison.json").unlink()
    assert keep(folder, made.model_copy(update={"data_version": "other"})) is None
