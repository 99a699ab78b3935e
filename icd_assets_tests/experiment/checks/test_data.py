"""The dataset as the checks see it: there, of another size, broken; enough anchors, and enough candidates."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from icd_assets.experiment.checks import data
from icd_assets.experiment.checks.data import dataset
from icd_assets.experiment.checks.look import Look
from icd_assets.experiment.checks.pools import pools
from icd_assets.experiment.experiment import Experiment
from icd_assets.runtime.finding import Finding, findings
from icd_assets_tests.experiment.checks.conftest import Opened, looked, problems


def found(experiment: Experiment, *steps: str) -> dict[str, list[Finding]]:
    levels: dict[str, list[Finding]] = {}
    for finding in findings("dataset", lambda: dataset(looked(experiment, *steps))):
        levels.setdefault(finding.level, []).append(finding)
    return levels


def with_entry(experiment: Experiment, **changes: Any) -> Experiment:
    entry = experiment.dataset.model_copy(update=changes)
    catalog = experiment.catalog.model_copy(update={"datasets": {"demo": entry}})
    return replace(experiment, catalog=catalog)


def without_prepare(experiment: Experiment) -> Experiment:
    """The same dataset as one that nobody can write."""
    return with_entry(experiment, prepare=None)


def test_what_will_be_written_is_no_problem(opened: Opened) -> None:
    levels = found(opened())
    assert set(levels) == {"ok"}
    assert "written by the first run" in levels["ok"][0].found


def test_what_nobody_writes_is_missing(opened: Opened) -> None:
    levels = found(without_prepare(opened()))
    assert len(levels["problem"]) == 2
    assert "put the files there" in levels["problem"][0].found


def test_good_files_are_counted(written: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(found(written())) == {"ok"}
    rows = looked(written()).rows
    monkeypatch.setitem(data.KNOWN_SIZES, "demo", {"train": rows["train"], "validation": 5046})
    (warning,) = found(written())["warning"]
    assert f"{rows['validation']} questions; the official files have 5046" in warning.found


def cut(path: str | None) -> str:
    assert path is not None
    with Path(path).open("r+") as file:
        file.truncate(2000)
    return path


def test_files_that_do_not_parse(written: Opened) -> None:
    experiment = without_prepare(written())
    questions = cut(experiment.dataset.train.questions)  # type: ignore[attr-defined]
    (problem,) = found(experiment)["problem"]
    assert questions in problem.found
    assert "is not complete JSON" in problem.found


def test_validation_files_are_read_if_an_evaluation_is_planned(written: Opened) -> None:
    experiment = without_prepare(written())
    annotations = cut(experiment.dataset.validation.annotations)  # type: ignore[attr-defined]
    (problem,) = found(experiment)["problem"]
    assert annotations in problem.found
    assert "problem" not in found(experiment, "candidate_pools", "rl_data")
    assert not found(experiment, "rce_checkpoints")  # which reads neither split


def test_more_anchors_than_rows_are_all_of_them(written: Opened) -> None:
    experiment = with_entry(written(), sample_num=100_000)
    rows = looked(experiment).rows["train"]
    (warning,) = found(experiment)["warning"]
    assert f"sample_num is 100000, but the train split has {rows} rows: all {rows} are taken" in warning.found
    assert sorted(looked(experiment).anchor_rows) == list(range(rows))


def test_too_few_anchors_to_validate_on(written: Opened) -> None:
    (problem,) = found(with_entry(written(), sample_num=1))["problem"]
    assert "validates on the rest, and cannot with 1" in problem.found


# ---- enough candidates --------------------------------------------------------------------------------------


@pytest.fixture
def one_picture(written: Opened) -> Iterator[Look]:
    """All train questions are about the picture of the first."""
    experiment = without_prepare(written(sets={("shared", "pool_size"): "8"}))
    files: Any = experiment.dataset.train
    for path, name in ((files.questions, "questions"), (files.annotations, "annotations")):
        content = json.loads(Path(path).read_text())
        for record in content[name]:
            record["image_id"] = content[name][0]["image_id"]
        Path(path).write_text(json.dumps(content))
    yield looked(experiment)


def test_questions_on_one_picture_find_no_candidates(one_picture: Look) -> None:
    (problem,) = problems(pools(one_picture))
    rows = one_picture.rows["train"]
    assert f"finds 0, for {rows} of {rows} train questions are about its picture" in problem
    assert "allow_same_image=true" in problem


def test_what_pools_count_is_what_the_sampler_counts(written: Opened) -> None:
    """At the largest pool size that is accepted the sampler builds all pools, at one more it refuses."""
    from icd_assets.errors import UserError
    from icd_assets.pools.samplers import build_pools

    train = looked(written()).splits["train"]
    most = Counter(train.image_ids.tolist()).most_common(1)[0][1]
    seen = set()
    for size in range(len(train) - most - 2, len(train) + 1):
        look = looked(written(sets={("shared", "pool_size"): str(size)}), "candidate_pools")
        refused = bool(problems(pools(look)))
        config = look.experiment.config("candidate_pools")
        queries = [train[row] for row in look.anchor_rows]
        try:
            build_pools("RandSampler", queries, train, config, same_split=True)
        except UserError:
            assert refused, size
        else:
            assert not refused, size
        seen.add(refused)
    assert seen == {True, False}


def test_validation_questions_need_candidates_too(written: Opened) -> None:
    look = looked(written(sets={("shared", "pool_size"): "8"}), "evaluation")
    assert not problems(pools(look))
    train: Any = look.splits["train"]
    ids = look.splits["validation"].image_ids
    train.__dict__["image_ids"] = ids[:1].repeat(len(train))  # the first question's picture everywhere
    (problem,) = problems(pools(look))
    assert "validation queries find fewer than 8 candidates" in problem
