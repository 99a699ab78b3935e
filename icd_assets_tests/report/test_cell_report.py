"""The report of a real cell in a real browser: it says what the predictions say, and no request leaves it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from icd_assets.evaluation.predictions import read_predictions
from icd_assets.evaluation.report import Comparison
from icd_assets.experiment.catalog import Catalog
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.settings import Settings
from icd_assets.report.cell_report import content, page, render
from icd_assets.report.gallery import SplitPictures, gallery
from icd_assets_tests.report.test_page import HOSTILE
from icd_assets_tests.worlds.chromium import chromium, needs_chromium
from icd_assets_tests.worlds.workplace import CELL, Workplace

Trained = tuple[Workplace, str]

pytestmark = [pytest.mark.slow, pytest.mark.browser]
EVALUATION = "demo/icl_inference/v3_RandSampler_tiny_vl"


@pytest.fixture(scope="module")
def written(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    ended = trained[0].run("report", *CELL, "--output", str(path))
    assert ended.returncode == 0, ended.stderr
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


def opened(browser: Any, path: Path, **window: Any) -> tuple[Any, list[str]]:
    """A page, and what went wrong on it: errors, and requests to anywhere."""
    problems: list[str] = []
    shown = browser.new_context(**window).new_page()
    shown.on("console", lambda message: problems.append(message.text))
    shown.on("pageerror", lambda error: problems.append(str(error)))
    shown.on("dialog", lambda dialog: problems.append(dialog.message))
    shown.on("request", lambda request: request.url.startswith(("file:", "data:")) or problems.append(request.url))
    shown.goto(path.as_uri())
    shown.wait_for_selector("article")
    return shown, problems


def scores(trained: Trained, strategy: str, shots: int) -> list[float]:
    path = trained[0].results / EVALUATION / "predictions.parquet"
    rows = read_predictions(path).to_pylist()
    return [row["score"] for row in rows if (row["strategy"], row["shots"]) == (strategy, shots)]


@needs_chromium
def test_the_gallery_shows_what_the_predictions_say(trained: Trained, written: Path, browser: Any) -> None:
    shown, problems = opened(browser, written)
    comparison = Comparison.read(trained[0].results / EVALUATION / "comparison.json")
    first, second = (shown.eval_on_selector(f"#{name}", "it => it.value") for name in ("first", "second"))
    assert first == comparison.recommended and second in comparison.references
    one, other = (scores(trained, name, comparison.compare_shots) for name in (first, second))
    assert shown.inner_text("#count") == f"{len(one)} of {len(one)} questions"
    shown.select_option("#relation", "first")
    better = sum(a > b for a, b in zip(one, other, strict=True))
    assert shown.inner_text("#count") == f"{better} of {len(one)} questions"
    shown.select_option("#relation", "wrong")
    wrong = sum(max(pair) < 0.5 for pair in zip(one, other, strict=True))
    assert shown.inner_text("#count") == f"{wrong} of {len(one)} questions"
    shown.select_option("#relation", "all")
    shown.select_option("#sides", "all")
    assert shown.locator("article").first.locator("section").count() == len(comparison.main)
    shown.fill("#text", "no question has this text")
    assert shown.inner_text("#count") == f"0 of {len(one)} questions"
    assert problems == []


@needs_chromium
def test_pictures_are_shown_and_more_comes_on_demand(written: Path, browser: Any) -> None:
    shown, problems = opened(browser, written)
    sizes = shown.eval_on_selector_all("article img", "all => all.map(it => it.naturalWidth)")
    assert len(sizes) > 24 and min(sizes) > 0
    assert shown.locator("article").count() == 24
    shown.focus("#more")
    shown.keyboard.press("Enter")
    assert shown.locator("article").count() == 40 and not shown.is_visible("#more")
    assert shown.evaluate("document.activeElement.tagName") == "ARTICLE"  # who types goes on at the new ones
    assert problems == []


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_nobody_is_kept_out(written: Path, browser: Any, scheme: str, width: int) -> None:
    from axe_playwright_python.sync_playwright import Axe

    window = {"viewport": {"width": width, "height": 900}, "color_scheme": scheme, "bypass_csp": True}
    shown, _ = opened(browser, written, **window)
    found = Axe().run(shown).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []
    assert shown.evaluate("document.documentElement.scrollWidth") <= width


def experiment(place: Workplace) -> Experiment:
    catalog = Catalog.load(place.folder / "catalog.yaml")
    return Experiment.open(catalog.cell("demo", "RandSampler", "tiny_vl"), Settings(), place.results, catalog)


@needs_chromium
def test_hostile_texts_stay_texts(
    trained: Trained, tmp_path: Path, browser: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained[0].folder)
    cell = experiment(trained[0]).as_read_only()
    found = content(cell)
    for rows in found["sides"].values():
        for row, text in zip(rows, HOSTILE, strict=False):
            row |= dict.fromkeys(("question", "gold", "answer", "raw", "question_type", "answer_type"), text)
            row["answers"] = [text]
            for one in row["demonstrations"]:
                one |= {"question": text, "answer": text}
    pictures = SplitPictures(cell.data.validation, cell.data.train)
    path = tmp_path / "report.html"
    path.write_text(page(found, gallery(found["sides"], pictures, shown=found["pair"])), encoding="utf-8")
    shown, problems = opened(browser, path)
    assert [text for text in shown.locator("article h3").all_inner_texts() if "alert(1)" in text] == [*HOSTILE[:2]]
    assert problems == []


def test_the_page_names_the_evaluation_and_the_command(trained: Trained, written: Path) -> None:
    text = written.read_text(encoding="utf-8")
    manifest = json.loads((trained[0].results / EVALUATION / "evaluation.manifest.json").read_bytes())
    assert f'name="icd-evaluation" content="{manifest["data_version"]}"' in text
    command = re.search("<pre[^>]*><code>(.+?)</code>", text)
    assert command is not None
    again = trained[0].run(*shlex.split(command[1].replace("&#39;", "'"))[1:], "--dry-run")
    assert again.returncode == 0, again.stderr
    assert "stale" not in again.stdout and "missing" not in again.stdout, again.stdout
    for curve in ("training loss (RCE)", "validation reward, expected", "KL from the reference policy"):
        assert f"{curve} by epoch" in text


def test_a_cell_that_is_not_evaluated(workplace: Workplace) -> None:
    ended = workplace.run("report", *CELL)
    assert ended.returncode == 2 and ended.stderr.count("\n") == 1 and "evaluation" in ended.stderr, ended.stderr


def test_twice_the_same_page(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained[0].folder)
    assert render(experiment(trained[0])) == render(experiment(trained[0]))
