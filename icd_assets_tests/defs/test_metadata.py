"""What stands beside an artifact in the UI: numbers with units, what it was made from by name, and its report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from icd_assets.assets.figures import Markdown
from icd_assets.defs.assets import metadata as module
from icd_assets.defs.assets.metadata import _escaped, _facts, metadata
from icd_assets.defs.assets.units import is_known, with_unit
from icd_assets.experiment.experiment import Experiment
from icd_assets.store.store import Store
from icd_assets_tests.worlds.commands import world
from icd_assets_tests.worlds.manifests import World
from icd_assets_tests.worlds.workplace import Workplace

__all__ = ["world"]

PAGE = "view=partitions&partition=d0%7CRandSampler%2Fm0"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("accuracy_beam", "accuracy_beam (share)"),
        ("accuracy image similarity", "accuracy image similarity (share)"),
        ("candidates", "candidates (pointers)"),
        ("candidates_random", "candidates_random (pointers)"),
        ("train_rows", "train_rows (questions)"),
        ("val_expected_reward", "val_expected_reward (reward units)"),
        ("epochs", "epochs"),
        ("widths", "widths"),
        ("accuracyless", "accuracyless"),
    ],
)
def test_a_number_has_its_unit(name: str, shown: str) -> None:
    found = _facts("embeddings", {"rows": 3, name: 0.123456})
    assert found == {"dagster/row_count": 3, shown: 0.1235}


def test_texts_and_answers_have_none() -> None:
    facts = {"accuracy": "high", "epochs": True, "history": [1, 2], "encoder_digest": "e"}
    assert _facts("embeddings", facts) == {"accuracy": "high", "epochs": True, "encoder_digest": "e"}


def unknown_numbers(root: Path) -> set[str]:
    """The numbers of all artifacts under a results root that are neither with a unit nor known to need none."""
    manifests = [Store(root).read(path) for path in root.rglob("*.manifest.json")]
    return {
        f"{manifest.spec.asset}: {name}"
        for manifest in manifests
        if manifest is not None
        for name, value in manifest.facts.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and not is_known(name)
    }


def test_every_number_of_a_real_cell_says_what_it_counts(trained: tuple[Workplace, str]) -> None:
    assert unknown_numbers(trained[0].results) == set()
    assert with_unit("mean_best_score") == "mean_best_score (gain in probability)"


@pytest.fixture
def shown(world: World, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the UI shows of an artifact of a cell; its pictures aside, which small files have none of."""
    monkeypatch.setattr(module, "shown", lambda asset, facts: {"curve": Markdown("a curve")})

    def of(experiment: Experiment, asset: str) -> Mapping[str, Any]:
        manifest = experiment.manifest(asset)
        assert manifest is not None
        return metadata(asset, manifest, experiment)

    return of


def text(value: Any) -> str:
    return str(value.value if hasattr(value, "value") else value)


def test_a_checkpoint_leads_to_its_rl_data_by_name(world: World, shown: Any) -> None:
    found = shown(world.cell(run_id="6e027894-3660-49fb"), "rce_checkpoints")
    assert text(found["rl_data"]) == (
        f"[d0 \\| RandSampler \\| m0](/assets/rl_data?{PAGE}), 4 queries, made 2026-01-02 03:00 UTC "
        "by run [6e027894](/runs/6e027894-3660-49fb)"
    )
    assert list(found)[:2] == ["report", "curve"]
    order = list(found)
    assert order.index("rl_data") < order.index("path") < order.index("rl_data/data_version")
    assert found["rl_data/run"].value == "6e027894-3660-49fb"


def test_what_was_read_is_shown_and_not_what_is_there_now(world: World, shown: Any) -> None:
    """The evaluation's RL data are those of its checkpoint, however often they were made again."""
    experiment = world.cell()
    world.make(experiment, "rl_data", run_id="run-2", made="09:00", note="other answers")
    assert "by run [run-1](/runs/run-1)" in text(shown(experiment, "evaluation")["rl_data"])
    world.make(experiment, "rce_checkpoints", run_id="run-2", made="09:01")
    assert "made 2026-01-02 03:09 UTC by run [run-2](/runs/run-2)" in text(
        shown(experiment, "rce_checkpoints")["rl_data"]
    )


def test_what_no_manifest_is_left_of_has_its_run(world: World, shown: Any) -> None:
    experiment = world.cell()
    for path in (experiment.manifest_path("rl_data"), *experiment.store.history.glob("rl_data/*.json")):
        path.unlink()
    found = text(shown(experiment, "rce_checkpoints")["rl_data"])
    assert "queries" not in found and found.endswith("by run [run-1](/runs/run-1)")


def test_the_report_is_linked_where_it_is_of_that_experiment(world: World, shown: Any) -> None:
    experiment = world.cell()
    address = "/cells/d0/RandSampler/m0/report?folder=v3_RandSampler_m0"
    assert text(shown(experiment, "evaluation")["report"]).endswith(f"]({address})")
    assert text(shown(experiment, "rce_checkpoints")["report"]).endswith(f"]({address})")
    assert "report" not in shown(experiment, "candidate_pools")


def test_a_name_of_the_catalog_is_no_markdown() -> None:
    assert _escaped("a_b*[x](y)<i>|`\\&") == "a\\_b\\*\\[x\\](y)\\<i\\>\\|\\`\\\\\\&"
