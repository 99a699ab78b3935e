"""Where the seeds of a cell lie, and what they share."""

from __future__ import annotations

from pathlib import Path

import pytest

from icd_assets.errors import UserError
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.seeds import of_seeds, read_seeds
from icd_assets.experiment.v2_source import importable_v2
from icd_assets.store.names import half_commits, pending_of, results_of_seed, shared_root, temporaries
from icd_assets.store.store import Store
from icd_assets_tests.worlds.manifests import World, new_world


@pytest.fixture
def world(tmp_path: Path) -> World:
    return new_world(tmp_path)


@pytest.mark.parametrize(("text", "seeds"), [("42", (42,)), ("42,43,44", (42, 43, 44)), (" 7, 0 ", (7, 0))])
def test_seeds_as_they_are_typed(text: str, seeds: tuple[int, ...]) -> None:
    assert read_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "42,", "a", "-1", "42 43", "1.0", "٣", "9" * 400, "42;43"])
def test_what_is_no_seed(text: str) -> None:
    with pytest.raises(UserError, match=r"is no seed; write numbers, e\.g\. --seeds 42,43,44\."):
        read_seeds(text)


@pytest.mark.parametrize("text", ["42,42", "42,43,042"])
def test_a_seed_twice(text: str) -> None:
    with pytest.raises(UserError, match="names 42 twice"):
        read_seeds(text)


def test_the_seed_of_the_settings_lies_where_train_puts_it(world: World) -> None:
    base = world.experiment()
    found = of_seeds(base, (42, 43))
    assert found[42] is base
    other = found[43]
    assert other.store.root == base.store.root / "seeds" / "43"
    assert (other.settings.shared.seed, other.paths.root) == (43, other.store.root)
    for asset in ("candidate_pools", "rl_data", "evaluation"):
        assert not other.manifest_path(asset).is_relative_to(base.manifest_path(asset).parent)
    own = base.settings.model_copy(update={"shared": base.settings.shared.model_copy(update={"seed": 43})})
    again = of_seeds(Experiment(base.cell, own, base.store, base.catalog), (42, 43))
    assert again[43].store.root == base.store.root
    assert again[42].store.root == base.store.root / "seeds" / "42"


def test_a_v2_checkpoint_of_the_users_own_is_that_of_every_seed(world: World) -> None:
    """It lies in the results folder, where the other seeds would not look for it."""
    base = world.experiment()
    own = base.paths.v2_checkpoint
    own.parent.mkdir(parents=True)
    own.write_bytes(b"v2")
    other = of_seeds(base, (42, 43))[43]
    assert importable_v2(other) == importable_v2(base) == own


def test_a_dataset_with_the_folders_name(world: World) -> None:
    base = world.experiment()
    datasets = {**base.catalog.datasets, "seeds": base.dataset}
    catalog = base.catalog.model_copy(update={"datasets": datasets})
    with pytest.raises(UserError, match="a dataset is named 'seeds'"):
        of_seeds(Experiment(base.cell, base.settings, base.store, catalog), (42, 43))


def test_answers_and_caches_are_shared_and_artifacts_are_not(tmp_path: Path) -> None:
    root = tmp_path / "results"
    (root / ".icd_assets").mkdir(parents=True)
    base, seed = Store(root), Store(results_of_seed(root, 43))
    assert seed.answers == base.answers == root / ".icd_assets" / "answers.sqlite"
    assert seed.digests.path == base.digests.path
    assert (seed.history, seed.private) == (root / "seeds/43/.icd_assets/history", root / "seeds/43/.icd_assets")


@pytest.mark.parametrize("name", ["seeds/43", "seeds/x", "other/43"])
def test_a_folder_that_only_looks_like_a_seeds_has_answers_of_its_own(tmp_path: Path, name: str) -> None:
    """Nothing of ours lies above it, or it is no seed's."""
    if name != "seeds/43":
        (tmp_path / ".icd_assets").mkdir()
    assert shared_root(tmp_path / name) == tmp_path / name


def test_what_a_killed_run_of_a_seed_left_is_not_the_results_own(tmp_path: Path) -> None:
    """Ended with paths of the wrong root, it would be lost."""
    for root in (tmp_path, results_of_seed(tmp_path, 43)):
        (root / ".icd_assets").mkdir(parents=True)
        (root / "demo").mkdir()
        pending_of(root / "demo" / "a.json.manifest.json").write_text("{}")
        (root / "demo" / ".a.json.77-5.tmp").write_text("")
    for root in (tmp_path, results_of_seed(tmp_path, 43)):
        assert half_commits(root) == [root / "demo" / "a.json.manifest.json"]
        assert temporaries(root) == [root / "demo" / ".a.json.77-5.tmp"]
