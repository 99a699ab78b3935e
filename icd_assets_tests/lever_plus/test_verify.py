"""Every kind of file that a Lever-Plus folder may hold: what is adopted of it, and the sentence when it is not."""

from __future__ import annotations

import json
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from icd_assets.errors import UserError
from icd_assets.experiment.catalog import Catalog
from icd_assets.experiment.cell import Cell
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.settings import read_settings
from icd_assets.lever_plus.adopt import Adoption, Finding
from icd_assets.lever_plus.verify import _require_same_model
from icd_assets.scoring.beam_file import read_beams
from icd_assets.scoring.rl_data import RlData
from icd_assets.selector.embedding_file import read_embeddings
from icd_assets.store.store import Store
from icd_assets_tests.worlds.lever_plus import (
    ANCHORS,
    BEAMS,
    POOLS,
    RL_DATA,
    V2,
    V3,
    LeverPlus,
    legacy_beams,
    lever_plus_folder,
    rl_generation,
    write_json,
    write_shards,
)
from icd_assets_tests.worlds.workplace import Workplace

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pristine(trained: tuple[Workplace, str], tmp_path_factory: pytest.TempPathFactory) -> LeverPlus:
    return lever_plus_folder(trained[0], tmp_path_factory.mktemp("pristine") / "work", trained=True)


@pytest.fixture
def place(pristine: LeverPlus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LeverPlus:
    """Its results to damage, its datasets to share."""
    shutil.copytree(pristine.results, tmp_path / "results")
    shutil.copy(pristine.folder / "catalog.yaml", tmp_path / "catalog.yaml")
    for name in ("OKVQA_PATH", "COCO_PATH"):
        monkeypatch.setenv(name, pristine.environment[name])
    return LeverPlus(tmp_path)


def adopted(
    place: LeverPlus, *, dry_run: bool = False, v2: tuple[Path, ...] = (), **variables: str
) -> list[Finding]:
    catalog = Catalog.load(place.folder / "catalog.yaml")
    return list(Adoption(place.results, catalog, read_settings(environment=variables), v2, dry_run).run())


def of(findings: list[Finding], asset: str) -> Finding:
    (found,) = [finding for finding in findings if finding.asset == asset and finding.outcome != "left"]
    return found


def edited(path: Path, change: Any) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    write_json(path, change(content) or content)


def only(place: LeverPlus, *kept: str) -> None:
    """Remove what a test does not look at: reading it costs seconds."""
    for path in [*place.dataset.rglob("*.pt"), *place.dataset.rglob("*.ckpt"), *place.dataset.rglob("*.json")]:
        if not any(str(path.relative_to(place.dataset)).startswith(name) for name in kept):
            path.unlink()


# ---- beam data ---------------------------------------------------------------------------------------


def test_beam_data_of_both_forms_and_spellings(place: LeverPlus) -> None:
    only(place, POOLS, ANCHORS, BEAMS)
    edited(place.dataset / BEAMS, legacy_beams)
    older = place.dataset / BEAMS.replace("max_shot:", "few_shot: ")
    (place.dataset / BEAMS).rename(older)
    found = of(adopted(place), "beam_data")
    assert (found.outcome, found.paths) == ("adopted", (older,))
    manifest = Store(place.results).read(place.dataset / f"{BEAMS}.manifest.json")
    assert manifest is not None
    assert manifest.facts["rows"] == 24
    assert of(adopted(place), "beam_data").outcome == "already"


def test_rank_shards_are_put_together_when_complete(place: LeverPlus) -> None:
    only(place, POOLS, ANCHORS, BEAMS)
    whole = read_beams(place.dataset / BEAMS)
    shards = write_shards(place)
    before = [path.read_bytes() for path in shards]
    found = of(adopted(place, dry_run=True), "beam_data")
    assert "from 3 rank shards" in found.why
    assert not (place.dataset / BEAMS).exists()
    assert of(adopted(place), "beam_data").outcome == "adopted"
    assert read_beams(place.dataset / BEAMS) == whole
    assert [path.read_bytes() for path in shards] == before
    assert of(adopted(place), "beam_data").outcome == "already"
    assert not list(place.results.glob(".icd_assets/staging/*"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda shards: shards[1].unlink(), "begins at anchor 16, but the shards before it end at 8"),
        (lambda shards: shards[2].unlink(), "ends at anchor 16 of 24"),
        (lambda shards: edited(shards[1], lambda c: c.popitem() and None), "holds 7 of the 8 queries"),
        (
            lambda shards: edited(
                shards[1], lambda c: {**dict(list(c.items())[1:]), **dict([next(iter(read(shards[0]).items()))])}
            ),
            "is in another shard too",
        ),
    ],
)
def test_incomplete_shards(place: LeverPlus, change: Any, says: str) -> None:
    only(place, POOLS, ANCHORS, BEAMS)
    change(write_shards(place))
    found = of(adopted(place), "beam_data")
    assert found.outcome == "refused"
    assert says in found.why
    assert not (place.dataset / BEAMS).exists()


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def test_beams_outside_the_pool_and_of_other_shots(place: LeverPlus) -> None:
    only(place, POOLS, ANCHORS, BEAMS)
    edited(place.dataset / BEAMS, legacy_beams)
    key, query = next(iter(read(place.dataset / BEAMS).items()))
    foreign = next(row for row in range(640) if row not in read(place.dataset / POOLS)[key] and row != int(key))
    query["id_list"][0][0] = foreign
    edited(place.dataset / BEAMS, lambda c: {**c, key: query})
    found = of(adopted(place), "beam_data")
    assert f"query {key}: row {foreign} is not in the query's candidate pool" in found.why


# ---- pools -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda pools: {k: [*v[:-1], v[0]] for k, v in pools.items()}, "occurs twice"),  # Mix keeps duplicates
        (lambda pools: {k: [*v[:-1], int(k)] for k, v in pools.items()}, "holds the query itself"),
        (lambda pools: {k: [*v[:-1], 640] for k, v in pools.items()}, "640 is not a row of a split of 640"),
        (lambda pools: dict(list(pools.items())[:20]), "holds 20 pools, not 24"),
    ],
)
def test_pools_that_are_none(place: LeverPlus, change: Any, says: str) -> None:
    """What was trained from them is still adopted: RL data carry their pools."""
    only(place, POOLS, ANCHORS, RL_DATA)
    edited(place.dataset / POOLS, change)
    findings = adopted(place)
    assert of(findings, "candidate_pools").outcome == "refused"
    assert says in of(findings, "candidate_pools").why
    assert of(findings, "rl_data").outcome == "adopted"


def test_mix_pools_with_duplicates_say_what_is_still_usable(place: LeverPlus) -> None:
    only(place, POOLS)
    edited(place.dataset / POOLS, lambda pools: {k: [*v[:-1], v[0]] for k, v in pools.items()})
    assert "RL data made from these can still be adopted" in of(adopted(place), "candidate_pools").why


def test_anchors_of_another_draw(place: LeverPlus) -> None:
    only(place, POOLS, ANCHORS)
    edited(
        place.dataset / ANCHORS, lambda anchors: [*anchors[:-1], next(r for r in range(640) if r not in anchors)]
    )
    assert "are about other queries" in of(adopted(place), "candidate_pools").why


# ---- RL data -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("generation", [2, 3, 4, 5])
def test_rl_data_of_every_generation(place: LeverPlus, generation: int) -> None:
    only(place, RL_DATA)
    edited(place.dataset / RL_DATA, lambda content: rl_generation(with_source(content), generation))
    found = of(adopted(place), "rl_data")
    assert found.outcome == "adopted"
    assert f"generation {generation}, 24 queries" in found.why
    manifest = Store(place.results).read(place.dataset / f"{RL_DATA}.manifest.json")
    assert manifest is not None
    assert ("questions" in manifest.unknown) == (generation == 2)  # which names none
    assert manifest.facts["share_with_positive"] > 0


def with_source(content: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if not key.startswith("_")}


def mixed(content: dict[str, Any]) -> None:
    key = [key for key in content if not key.startswith("_")][3]
    del content[key]["pointer_candidates"][0]["pointer_global"]


def out_of_range(content: dict[str, Any]) -> None:
    key = [key for key in content if not key.startswith("_")][3]
    content[key]["candidate_pool_ids"][5] = 640


def of_another_model(content: dict[str, Any]) -> None:
    content["_meta"]["vqa_model"] = "tiny_vl"


def of_another_dataset(content: dict[str, Any]) -> None:
    key = next(key for key in content if not key.startswith("_"))
    content[key]["query"]["question_id"] = 7


@pytest.mark.parametrize(
    ("said", "refused"), [(None, False), ("Qwen/Qwen2.5-VL-3B-Instruct", False), ("Org/other", True)]
)
def test_a_served_model_in_the_catalog_is_mistaken_for_none(
    tmp_path: Path, said: str | None, refused: bool
) -> None:
    """The cell's model may also be served; and a file that names no model names no served one."""
    server = {"url": "http://host/v1", "server": "vllm"}
    same = {"aliases": [], "endpoint": server | {"model": "Qwen/Qwen2.5-VL-3B-Instruct"}}
    other = {"aliases": [], "endpoint": server | {"model": "Org/other"}}
    overlay = tmp_path / "catalog.yaml"
    overlay.write_text(json.dumps({"models": {"same": same, "other": other}}), encoding="utf-8")
    cell = Cell("okvqa", "RandSampler", "Qwen2_5-VL-3B-Instruct")
    experiment = Experiment.open(cell, read_settings(environment={}), tmp_path, Catalog.load(overlay))
    data = RlData((), meta={} if said is None else {"vqa_model": said})
    with pytest.raises(UserError, match="other answered") if refused else nullcontext():
        _require_same_model(tmp_path / "rl.json", data, experiment)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (mixed, "some pointers of the file are local"),
        (out_of_range, "640 is not a row of a train split of 640"),
        (of_another_model, "its _meta says that tiny_vl answered"),
        (of_another_dataset, "is question 7, but row"),
        (lambda content: {"3": {"id_list": [[1, 2, 3]], "score_list": [0.5]}}, "is beam data (id_list)"),
        (
            lambda content: {"3": {"pointer_candidates": [{"pointer": [1, 2], "beam_score": 10**400}]}},
            "not a finite",
        ),
    ],
)
def test_rl_data_that_are_refused(place: LeverPlus, change: Any, says: str) -> None:
    only(place, RL_DATA)
    edited(place.dataset / RL_DATA, change)
    found = of(adopted(place), "rl_data")
    assert found.outcome == "refused"
    assert says in found.why


# ---- embeddings --------------------------------------------------------------------------------------


def both(place: LeverPlus, content: Any) -> None:
    for name in ("query_embeddings.pt", "candidate_embeddings.pt"):
        torch.save(content, place.dataset / "cache" / name)


def test_embeddings_as_tensor_array_and_dict(place: LeverPlus) -> None:
    only(place, "cache/query", "cache/cand")
    tensor = read_embeddings(place.dataset / "cache/query_embeddings.pt").clone()  # the file is about to change
    forms: list[Any] = [
        tensor.numpy(),
        tensor.numpy().astype(np.float64),
        {r: v.clone() for r, v in enumerate(tensor)},
    ]
    for form in forms:
        both(place, form)
        (place.dataset / "cache/query_embeddings.pt.manifest.json").unlink(missing_ok=True)
        found = of(adopted(place), "embeddings")
        assert (found.outcome, found.why.split(";")[0]) == ("adopted", "640 rows of width 64")
        assert torch.equal(read_embeddings(place.dataset / "cache/query_embeddings.pt", rows=640), tensor)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.flip(0).clone(), "another encoder or another order of rows"),
        (lambda t: torch.nn.functional.normalize(torch.randn(640, 64), dim=-1), "another encoder"),
        (lambda t: torch.cat([t[:300], t[300:301] * float("nan"), t[301:]]), "row 300 is not finite"),
        (lambda t: t * 2, "row 0 is not finite or not of length 1"),
        (lambda t: t[:639].clone(), "has 639 rows, but the train split has 640"),
        (lambda t: torch.nn.functional.normalize(torch.randn(640, 768), dim=-1), "has width 768"),
        (lambda t: {f"{r}": v for r, v in enumerate(t)}, "whose keys are not the rows"),
        (lambda t: np.arange(640 * 64).reshape(640, 64), "something else than floating-point numbers"),
    ],
)
def test_embeddings_that_are_refused(place: LeverPlus, change: Any, says: str) -> None:
    only(place, "cache/query", "cache/cand", V2)
    both(place, change(read_embeddings(place.dataset / "cache/query_embeddings.pt").clone()))
    found = of(adopted(place), "embeddings")
    assert found.outcome == "refused"
    assert says in found.why


def test_two_embedding_files_must_be_one_matrix(place: LeverPlus) -> None:
    only(place, "cache/query", "cache/cand")
    torch.save(torch.eye(64).repeat(10, 1), place.dataset / "cache/candidate_embeddings.pt")
    assert "differ; training uses one matrix" in of(adopted(place), "embeddings").why
    (place.dataset / "cache/candidate_embeddings.pt").unlink()
    assert "candidate_embeddings.pt is not; both are read" in of(adopted(place), "embeddings").why


# ---- checkpoints -------------------------------------------------------------------------------------


def test_several_v2_checkpoints_are_not_a_lottery(place: LeverPlus) -> None:
    only(place, V2)
    first = place.dataset / V2
    second = first.with_name(first.name.replace("epoch=12", "epoch=7"))
    shutil.copy(first, second)
    found = of(adopted(place), "v2_checkpoint")
    assert "2 v2 checkpoints of okvqa|RandSampler" in found.why
    assert "choose one with --v2 PATH" in found.why
    findings = adopted(place, v2=(second,))
    assert of(findings, "v2_checkpoint").paths == (second,)
    findings = adopted(place)  # the choice lasts
    assert (of(findings, "v2_checkpoint").outcome, of(findings, "v2_checkpoint").paths) == ("already", (second,))
    assert [f.paths for f in findings if f.outcome == "left"] == [(first,)]
    assert of(adopted(place, v2=(first,)), "v2_checkpoint").outcome == "adopted"


def test_epochs_that_are_not_what_their_names_say(place: LeverPlus) -> None:
    only(place, V3)
    (place.dataset / V3 / "rce_epoch2.pt").rename(place.dataset / V3 / "rce_epoch9.pt")
    found = of(adopted(place), "rce_checkpoints")
    assert "the file says rce epoch 2; it was renamed" in found.why
    (place.dataset / V3 / "rce_epoch9.pt").unlink()
    findings = adopted(place)
    assert "epochs up to 5 (only 4 of them are there)" in of(findings, "rce_checkpoints").why
    assert of(findings, "grpo_checkpoints").outcome == "already"
    content = torch.load(place.dataset / V3 / "grpo_epoch2.pt", weights_only=True)
    content["model_state_dict"]["query_proj.weight"][0, 0] = float("nan")
    torch.save(content, place.dataset / V3 / "grpo_epoch2.pt")
    assert "not finite" in of(adopted(place), "grpo_checkpoints").why


def test_other_settings_and_unknown_models_are_reported(place: LeverPlus) -> None:
    only(place, RL_DATA)
    (place.dataset / RL_DATA).rename(place.dataset / "generated_data/rl_data_RandSampler_flamingo_9B.json")
    (place.dataset / V3).rename(place.dataset / f"{V3}_hard_only")
    shutil.copytree(place.results / "okvqa", place.results / "gqa")
    findings = adopted(place)
    assert {finding.outcome for finding in findings} == {"left"}
    assert any("RL_DATA_PATH=" in finding.why for finding in findings)
    assert any("no dataset of this name" in finding.why for finding in findings)


def test_without_the_dataset_only_checkpoints_are_adopted(
    place: LeverPlus, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OKVQA_PATH", str(tmp_path / "nowhere"))
    findings = {finding.asset: finding for finding in adopted(place) if finding.outcome != "left"}
    assert {asset for asset, finding in findings.items() if finding.outcome == "adopted"} == {
        "v2_checkpoint",
        "rce_checkpoints",
        "grpo_checkpoints",
    }
    assert "nowhere" in findings["rl_data"].why


def test_what_this_project_made_is_its_own(
    trained: tuple[Workplace, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trained[0]
    monkeypatch.chdir(made.folder)
    catalog = Catalog.load(made.folder / "catalog.yaml")
    settings = read_settings(environment={})
    findings = list(Adoption(made.results, catalog, settings, dry_run=True).run())
    outcomes = {finding.asset: (finding.outcome, finding.why) for finding in findings if finding.asset}
    assert len(outcomes) == 7
    assert set(outcomes.values()) == {("already", "made by this project")}
