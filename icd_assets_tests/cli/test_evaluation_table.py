"""The evaluation's table on a terminal: every interval as it is, whole at 80 columns, and a verdict below."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from icd_assets.cli import screen, summary
from icd_assets.evaluation.compare import compare
from icd_assets.evaluation.config import EvaluationConfig
from icd_assets.evaluation.report import Comparison, Interval
from icd_assets_tests.evaluation.test_report import outcome

REFERENCES = ("random", "image+text similarity", "v2 (SFT)")


@pytest.fixture
def shown(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    def show(comparison: Comparison, width: int | None = None, recommended: str = "GRPO") -> str:
        path = tmp_path / "comparison.json"
        comparison.write(path)
        manifest = SimpleNamespace(facts={"recommended": recommended})
        store = SimpleNamespace(files=lambda _: [path])
        experiment = SimpleNamespace(cell="demo|RandSampler/tiny_vl", manifest=lambda _: manifest, store=store)
        for module in (screen, summary):
            monkeypatch.setattr(module, "screen_width", lambda: width)
        summary.show_evaluation(experiment)  # type: ignore[arg-type]
        return capsys.readouterr().out

    return show


def found(n: int, *shares: float) -> Comparison:
    names = (*REFERENCES, "GRPO, shuffled labels", "GRPO")
    outcomes = [
        outcome(name, 2, [1.0] * round(n * share) + [0.0] * (n - round(n * share)))
        for name, share in zip(names, shares, strict=True)
    ]
    return compare(outcomes, EvaluationConfig(), REFERENCES, recommended=["GRPO"])


def test_a_whole_table_at_eighty_columns(shown: Any) -> None:
    text = shown(found(300, 0.3, 0.5, 0.85, 0.1, 0.86), 80)
    table = text[: text.index("a…b")]
    assert max(map(len, table.splitlines())) <= 80
    (row,) = (line for line in table.splitlines() if line.startswith("GRPO  "))
    assert row.split() == ["GRPO", "86.0", "81…90", "+56.0*50…62", "+36.0*30…42", "+1.0", "-1…3"]
    assert "GRPO is better than random by 56.0 points" in " ".join(text.split())
    assert "no difference can be told from 300 questions" in " ".join(text.split())


def test_one_digit_more_where_there_is_room(shown: Any) -> None:
    assert "86.0 81.6…89.5" in shown(found(300, 0.3, 0.5, 0.85, 0.1, 0.86))


def test_none_right_is_not_certainly_none(shown: Any) -> None:
    text = " ".join(shown(found(30, 0, 0, 0, 0, 0), 80).split())
    assert "0.0 0…12" in text
    assert "Warning: no strategy gave a right answer to any of 30 questions" in text


def test_a_file_of_before(shown: Any) -> None:
    before = found(300, 0.3, 0.5, 0.85, 0.1, 0.86).model_copy(
        update={"num_images": None, "bootstrap_resamples": 10_000, "recommended": None}
    )
    text = shown(before)
    assert "percentiles of 10000 resamples" in text
    assert "GRPO is better than random" in text


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (Interval(0.5, 0.5, 0.5), 0, "50.0 50…50"),
        (Interval(0.007, -0.0151, 0.0281), 0, "0.7 -2…3"),
        (Interval(0.007, -0.0151, 0.0281), 1, "0.7 -1.6…2.9"),
        (Interval(0.29, 0.2900000001, 0.31), 1, "29.0 29.0…31.0"),
    ],
)
def test_bounds_are_rounded_outwards(value: Interval, digits: int, text: str) -> None:
    assert summary.score_cell(value, digits) == text
