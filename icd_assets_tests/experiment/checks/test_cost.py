"""Counts and bytes against arithmetic by hand, and against a run's own files."""

from __future__ import annotations

import pytest

from icd_assets.experiment.catalog import Catalog
from icd_assets.experiment.checks.cost import prompts, written
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.recipe_cost import recipe_costs
from icd_assets.experiment.settings import read_settings
from icd_assets.experiment.steps import STEP
from icd_assets_tests.experiment.checks.conftest import Opened
from icd_assets_tests.worlds.manifests import STEP_NAMES
from icd_assets_tests.worlds.workplace import Workplace

ROWS = {"train": 9009, "validation": 5046}
STEPS = tuple(STEP)


def test_prompts_by_hand(opened: Opened) -> None:
    found = prompts(opened(), STEPS, ROWS)  # 24 anchors, pools of 64, 40 questions, see new_workplace
    assert found["beam_data"] == 24 * (1 + 64 + 5 * 3)  # alone, singles, and 5 beams over the 4 best less one
    assert found["rl_data"] == 24 * (5 + 5 + 2 * 2 + 1)
    oracle = 40 * (1 + 64 + 1 * 3)
    assert found["evaluation"] == 40 * (1 + 4 * (2 + 2) + 3 + 5 + 2) + oracle  # five baselines
    assert prompts(opened(), ["rl_data"], ROWS) == {"rl_data": 360}


def test_the_price_of_beams_follows_how_many_singles_are_tried(opened: Opened) -> None:
    """Prompts, and what they compute: with fewer pairs the mean prompt is shorter, too."""
    found = {}
    for expand in ("8", "16", "64"):
        costs = recipe_costs(opened(sets={("beam_data", "expand"): expand}), ROWS)
        (cost,) = [cost for cost in costs if cost.recipe == "beams"]
        assert cost.tflop is not None
        of_rl = cost.prompts["rl_data"] * 3
        pictures = 24 * (1 + 64 * 2 + (cost.prompts["beam_data"] // 24 - 65) * 3)
        found[cost.prompts["beam_data"] // 24] = cost.tflop / (pictures + of_rl)
    assert list(found) == [100, 140, 380]
    assert min(found.values()) == pytest.approx(max(found.values()))


def test_grpo_is_asked_too(opened: Opened) -> None:
    with_grpo = prompts(opened(GRPO_EPOCHS="3"), ["evaluation"], ROWS)["evaluation"]
    assert with_grpo - prompts(opened(), ["evaluation"], ROWS)["evaluation"] == 40 * (4 + 1)


def test_bytes_by_hand(opened: Opened) -> None:
    found = written(opened(RCE_EPOCHS="5"), STEPS, ROWS, encoder=600_000_000, width=512)
    assert found["embeddings"] == 2 * 9009 * 512 * 4
    width = 256
    selector = 6000 + 4 * (4 * width * width + 6 * width + 4 * width * width + width + 512 * width)
    assert found["rce_checkpoints"] == 5 * selector
    assert found["v2_checkpoint"] == 600_000_000 + selector
    assert "grpo_checkpoints" not in found  # no epochs, no bytes
    assert written(opened(), [], ROWS, encoder=1, width=512) == {}


@pytest.mark.slow
def test_a_run_writes_what_was_foretold(trained: tuple[Workplace, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Between half of it and a twentieth more, for the files of a real run."""
    place = trained[0]
    monkeypatch.chdir(place.folder)
    monkeypatch.setenv("ICD_CATALOG", str(place.folder / "catalog.yaml"))
    settings = read_settings(None, {"RECIPE": "beams", "RCE_EPOCHS": "5", "GRPO_EPOCHS": "3"})
    catalog = Catalog.load()
    experiment = Experiment.open(catalog.cell("demo", "rand_sampler", "tiny_vl"), settings, place.results, catalog)
    rows = {"train": len(experiment.data.train), "validation": len(experiment.data.validation)}
    foretold = written(experiment, STEPS, rows, encoder=1_100_000, width=64)
    for asset in STEP_NAMES[1:]:
        manifest = experiment.manifest(asset)
        assert manifest is not None
        size = sum(record.size for record in manifest.files)
        assert foretold[asset] / 2 < size <= 1.05 * foretold[asset], (asset, size, foretold)
