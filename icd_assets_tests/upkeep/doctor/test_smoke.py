"""The model's first answers beside the right ones, asked once; and prompts judged without their outliers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from icd_assets.runtime.locks import Holder
from icd_assets.upkeep.doctor import outliers
from icd_assets.upkeep.doctor import smoke as module
from icd_assets.upkeep.doctor.smoke import smoke
from icd_assets.vlm.backend import Backend, HandOver
from icd_assets.vlm.backends.in_process import InProcess
from icd_assets.vlm.prompts import Prompt
from icd_assets_tests.experiment.checks.conftest import Opened, looked, opened, written  # noqa: F401
from icd_assets_tests.worlds.copying_backend import CopyingBackend


class Gravel(CopyingBackend):
    def answer(self, prompts: Sequence[Prompt], hand_over: HandOver[str]) -> None:
        self.asked += prompts
        hand_over({at: "gravel" if at % 5 else "Question: gravel" for at in range(len(prompts))})


@pytest.fixture
def gravel(monkeypatch: pytest.MonkeyPatch) -> Gravel:
    backend = Gravel()

    def opens(self: object, **options: Any) -> Backend:
        return backend

    monkeypatch.setattr(InProcess, "open", opens)
    return backend


def test_a_model_that_is_never_right(written: Opened, gravel: Gravel) -> None:  # noqa: F811
    (finding,) = smoke(looked(written()))
    assert finding.level == "warning", finding
    assert "answers 0 of 20 right (accuracy 0.0%), mostly 'gravel' (16 times)" in finding.found
    assert len(re.findall(r"\(gold '", finding.found)) == 3
    assert re.search(r"in \d+\.\d s", finding.found)
    assert "it wrote 'Question: gravel'" in finding.found
    (again,) = smoke(looked(written()))
    assert "0 of them asked now" in again.found
    assert len(gravel.asked) == 20


def test_the_questions_are_the_evaluations_first(written: Opened, gravel: Gravel) -> None:  # noqa: F811
    look = looked(written(sets={("evaluation", "num_queries"): "3"}))
    list(smoke(look))
    assert [prompt.question_id for prompt in gravel.asked] == [
        look.splits["validation"][row].question_id for row in range(3)
    ]
    assert all(not prompt.shots for prompt in gravel.asked)


def test_a_busy_gpu_is_left_to_who_has_it(written: Opened, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    def lease(holder: Holder, on_wait: Any) -> Any:
        on_wait("waiting for rl_data of another cell")

    monkeypatch.setattr(module, "lease", lease)
    (finding,) = smoke(looked(written()))
    assert (finding.level, finding.found) == ("ok", "not asked: waiting for rl_data of another cell")


def test_an_outlier_stands_in_one_place_of_one_prompt(written: Opened) -> None:  # noqa: F811
    look = looked(written())
    look.sizes = {"train": [(112, 112)] * 99}
    plain = outliers.estimate(look)
    look.sizes = {"train": [(112, 112)] * 99 + [(1120, 1120)]}
    found = outliers.estimate(look)
    assert plain is not None
    assert found is not None
    assert found.usual == plain.usual
    assert found.median == plain.median
    assert (found.largest, found.worst.batch_size) == ((1120, 1120), 1)
    one_more = found.worst.prompt.tokens - plain.worst.prompt.tokens
    assert 0 <= one_more < found.usual.prompt.tokens
    assert replace(found.worst, prompt=found.usual.prompt).batch_size == 1
