"""What may be typed for a side: cells, their experiments and earlier evaluations, paths from any folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from icd_assets.cli import group
from icd_assets.evaluation.earlier import keep
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.seeds import of_seeds
from icd_assets_tests.worlds.commands import Run
from icd_assets_tests.worlds.evaluated import NAME, STEPS, evaluated_cell, make
from icd_assets_tests.worlds.manifests import KEY, World

CELL = ("d0", "rand_sampler", "m0")


@pytest.fixture
def cell(world: World) -> Experiment:
    """Evaluated, and once more as the experiment ``more``."""
    evaluated_cell(world, RUN_NAME="more", seed=6)
    return evaluated_cell(world)


def answers(path: Path, wrong: int = 0) -> Path:
    """Somebody's, right but for the first ``wrong``."""
    records = [{"question_id": 10 * at, "score": float(at >= wrong)} for at in range(20)]
    path.write_text(json.dumps(records), encoding="utf-8")
    return path


def sources(run: Run, *words: str) -> list[str]:
    ended = run("compare", *words, "--json")
    assert ended.code == 0, ended.error
    return [side["source"] for side in json.loads(ended.output)["sides"]]


def refused(run: Run, *words: str) -> str:
    ended = run("compare", *words)
    assert ended.code == 2 and "\n" not in ended.error
    return ended.error


@pytest.mark.parametrize(
    "words",
    [
        (KEY, f"{KEY}@more"),
        (*CELL, *CELL[:2], "m0@more"),
        ("vqa", "d0", "0", "query_img_text_icd_img_text", "rand_sampler", "m0", "more"),
        (*CELL, "more"),
        (KEY, "more"),
    ],
)
def test_a_cell_and_its_other_experiment(cell: Experiment, run: Run, words: tuple[str, ...]) -> None:
    assert sources(run, *words) == [KEY, f"{KEY}@more"]


def test_an_experiment_is_named_as_its_folder_ends_too(cell: Experiment, world: World, run: Run) -> None:
    evaluated_cell(world, REWARD_MODE="legacy", RUN_NAME="kl012")
    assert sources(run, KEY, "legacy_kl012", "more") == [KEY, f"{KEY}@legacy_kl012", f"{KEY}@more"]


def test_of_the_experiments_the_one_that_the_flags_mean(cell: Experiment, run: Run) -> None:
    assert sources(run, KEY, KEY, "--name", "more") == [f"{KEY}@more"] * 2


def test_earlier_evaluations_by_number_and_by_day(cell: Experiment, run: Run) -> None:
    manifest = cell.store.require(cell.manifest_path("evaluation"), "evaluation")
    for second, version in (("01", "a"), ("02", "b")):
        made = f"2026-01-0{second[1]}T03:04:05+00:00"
        keep(cell.paths.evaluation, manifest.model_copy(update={"created_at": made, "data_version": version}))
    assert sources(run, KEY, "earlier:1", "earlier:2") == [
        KEY,
        f"{KEY}, replaced, of 2026-01-02T03:04:05+00:00",
        f"{KEY}, replaced, of 2026-01-01T03:04:05+00:00",
    ]
    assert sources(run, KEY, "earlier:2026-01-01")[1].endswith("2026-01-01T03:04:05+00:00")
    for which in ("earlier:3", "earlier:0", "earlier:", "earlier:2026-01", "earlier:" + "9" * 5000):
        assert "there are earlier:1 (2026-01-02T03:04:05+00:00), earlier:2" in refused(run, KEY, which)
    assert "was replaced" in refused(run, f"{KEY}@more", "earlier:1")


def test_files_lie_where_the_command_is_typed(
    cell: Experiment, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = world.folder / "notes"
    below.mkdir()
    answers(below / "theirs.json", wrong=3), answers(below / "ours.json")
    monkeypatch.chdir(below)
    ended = CliRunner().invoke(group, ["compare", *CELL, "theirs.json"])
    assert ended.exit_code == 0 and "B: theirs" in ended.output, ended.output
    monkeypatch.chdir(below)  # the command went home
    ended = CliRunner().invoke(group, ["compare", "ours.json", "theirs.json", "--html", "page.html"])
    assert ended.exit_code == 0 and (below / "page.html").is_file(), ended.output


def test_two_files_need_no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    answers(tmp_path / "a.json"), answers(tmp_path / "b.json", wrong=8)
    ended = CliRunner().invoke(group, ["compare", "a.json", "b.json", "--json"])
    assert ended.exit_code == 0, ended.output
    assert json.loads(ended.output)["flips"] == [{"name": "B: b", "better": 0, "worse": 8}]
    assert not (tmp_path / "results").exists()


def test_a_folder_of_a_datasets_name_does_not_hide_the_cell(cell: Experiment, world: World, run: Run) -> None:
    shutil.copytree(cell.paths.evaluation, world.folder / "d0")
    assert sources(run, *CELL, "./d0") == [KEY, str(world.folder / "d0")]
    theirs = answers(world.folder / "theirs.json")
    assert sources(run, "d0", "theirs.json") == [str(world.folder / "d0"), str(theirs)]


def test_another_seeds_evaluation_says_that_the_seed_differs(cell: Experiment, run: Run) -> None:
    other = of_seeds(cell, [43])[43]
    for asset in STEPS:
        make(other, asset)
    ended = run("compare", KEY, str(other.paths.evaluation), "--json")
    found: dict[str, Any] = json.loads(ended.output)
    ((_, differing),) = found["differences"].items()
    assert {"seed", "config"} == {one["kind"] for one in differing}, differing  # pools.seed is of the config


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((KEY, "moer"), "has no experiment 'moer'; it has more: --name of train makes one."),
        ((KEY, f"{KEY}@none"), "has no experiment 'none'"),
        ((KEY, f"{KEY}@../x"), "cannot be part of a folder's name"),
        ((KEY, "d0|MixSampler/m0"), "is not evaluated; run icd-assets train d0 mix_sampler m0."),
        ((*CELL, "d9", "rand_sampler", "m0"), "unknown dataset 'd9'"),
        ((KEY, "none.json"), "none.json does not exist"),
        (("none/at/all", KEY), "none/at/all does not exist"),
        (("earlier:1", KEY), "names no cell and no file|is not a partition key"),
        ((KEY,), "names 1 sides; name two or more"),
        ((KEY,) * 27, "names 27 sides"),
        ((KEY, "more", "--strategy", "a", "--strategy", "b", "--strategy", "c"), "given 3 times for 2 sides"),
    ],
)
def test_words_that_name_nothing(cell: Experiment, run: Run, words: tuple[str, ...], says: str) -> None:
    assert any(part in refused(run, *words) for part in says.split("|")), refused(run, *words)


def test_an_experiment_without_an_evaluation_says_how_to_make_one(cell: Experiment, run: Run) -> None:
    cell.manifest_path("evaluation").unlink()
    assert refused(run, KEY, "more").endswith("run icd-assets train d0 rand_sampler m0, or name @more.")


def test_where_a_file_of_the_user_has_a_place_ours_is_read(world: World, run: Run) -> None:
    theirs = world.experiment(RECIPE="sequences").paths.evaluation / "comparison.json"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("mine", encoding="utf-8")
    cell = evaluated_cell(world)
    assert sources(run, KEY, str(cell.paths.selector("sequence_selector")))[0] == KEY
    assert "coverage (sequences)" in run("leaderboard").output
    assert theirs.read_text(encoding="utf-8") == "mine"


def test_what_was_changed_since_is_not_compared(cell: Experiment, run: Run) -> None:
    (cell.paths.evaluation / "comparison.json").write_text("{}", encoding="utf-8")
    assert "comparison.json is no longer what evaluation wrote" in refused(run, KEY, "more")


def test_the_selector_that_was_evaluated_is_its_strategy(cell: Experiment, run: Run) -> None:
    folder = cell.paths.selector("sequence_selector")
    ended = run("compare", str(folder), str(folder / "model.safetensors"), "--json")
    assert [side["strategy"] for side in json.loads(ended.output)["sides"]] == [NAME, NAME]
    assert "was made or adopted here" in refused(run, KEY, str(cell.store.root.parent / "dagster.yaml"))
