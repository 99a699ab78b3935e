"""The dataset as the doctor sees it: there, of another size, broken, with bad images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from icd_assets.experiment.experiment import Experiment
from icd_assets.runtime.finding import Finding
from icd_assets.upkeep.doctor import data
from icd_assets.upkeep.doctor.data import Seen, dataset
from icd_assets_tests.upkeep.doctor.conftest import Opened


def found(experiment: Experiment) -> dict[str, list[Finding]]:
    levels: dict[str, list[Finding]] = {}
    for finding in dataset(experiment, Seen()):
        levels.setdefault(finding.level, []).append(finding)
    return levels


def without_prepare(experiment: Experiment) -> Experiment:
    """The same dataset as one that nobody can write."""
    entry = experiment.dataset.model_copy(update={"prepare": None})
    catalog = experiment.catalog.model_copy(update={"datasets": {"demo": entry}})
    return replace(experiment, catalog=catalog)


def test_what_will_be_written_is_no_problem(opened: Opened) -> None:
    levels = found(opened())
    assert set(levels) == {"ok"}
    assert "written by the first run" in levels["ok"][0].found


def test_what_nobody_writes_is_missing(opened: Opened) -> None:
    levels = found(without_prepare(opened()))
    assert len(levels["problem"]) == 2
    assert "put the files there" in levels["problem"][0].found


def test_good_files_are_counted_and_images_sampled(written: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Seen()
    findings = list(dataset(written(), seen))
    assert {finding.level for finding in findings} == {"ok"}
    assert set(seen.rows) == {"train", "validation"}
    assert len(seen.images) == len(seen.questions) == 2 * 64
    assert set(seen.images) == {(112, 112)}
    monkeypatch.setitem(data.KNOWN_SIZES, "demo", {"train": seen.rows["train"], "validation": 5046})
    (warning,) = found(written())["warning"]
    assert f"{seen.rows['validation']} questions; the official files have 5046" in warning.found


def test_bad_images_are_named_with_their_question(written: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = written()
    monkeypatch.setattr(data, "_SAMPLE", 100_000)  # every row, so that the bad ones are among them
    torn, gone = experiment.data.train[0], experiment.data.train[5]
    torn.image.write_bytes(torn.image.read_bytes()[:500])
    gone.image.unlink()
    (problem,) = found(experiment)["problem"]
    assert f"question_id {torn.question_id}: image {torn.image} cannot be read" in problem.found
    assert f"image {gone.image} does not exist" in problem.found


def test_a_sample_is_the_same_each_time(written: Opened) -> None:
    first, second = Seen(), Seen()
    list(dataset(written(), first))
    list(dataset(written(), second))
    assert first == second


def test_files_that_do_not_parse(written: Opened) -> None:
    experiment = without_prepare(written())
    questions = experiment.dataset.train.questions
    assert questions is not None
    with Path(questions).open("r+") as file:
        file.truncate(2000)
    (problem,) = found(experiment)["problem"]
    assert questions in problem.found
    assert "is not complete JSON" in problem.found
