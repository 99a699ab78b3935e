"""What a click on Materialize takes for settings: those that the cell was made with, below those that are set."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import dagster as dg
import pytest

from icd_assets.definitions import defs
from icd_assets.defs.assets.step_asset import launchpad_form
from icd_assets.defs.runs.run_config import build_run_config
from icd_assets.errors import UserError
from icd_assets.experiment.recipes import STEPS_OF, Recipe
from icd_assets.experiment.settings import read_settings
from icd_assets.experiment.steps import STEP
from icd_assets_tests.defs.test_ui import KEY, NOTES, Place, _made_of_texts, place
from icd_assets_tests.worlds.manifests import STEP_NAMES

__all__ = ["_made_of_texts", "place"]

GRPO = "grpo_checkpoints"
ALL = tuple(STEP_NAMES)


def command(place: Place, *names: str, **variables: str) -> None:
    """As ``icd-assets train`` runs it."""
    settings = read_settings(environment=variables)
    launch(place, names, build_run_config(settings, place.root, list(names), frozenset()))


def click(place: Place, *names: str, ops: Mapping[str, Any] | None = None, **resources: Any) -> dict[str, Any]:
    """As the button does, with what a user sets in the Launchpad; metadata by asset."""
    given = {name: {"config": fields} for name, fields in resources.items()}
    given["shared"] = {"config": {**resources.get("shared", {}), "results_root": str(place.root)}}
    config = {"ops": {name: {"config": fields} for name, fields in (ops or {}).items()}, "resources": given}
    return launch(place, names, config)


def launch(place: Place, names: tuple[str, ...], config: dict[str, Any]) -> dict[str, Any]:
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    ended = place.defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=place.instance,
        partition_key=KEY,
        asset_selection=[dg.AssetKey(name) for name in names],
        run_config=config | quiet,
        raise_on_error=False,
    )
    for event in ended.all_events:
        if event.is_step_failure:
            raise UserError(event.step_failure_data.user_failure_data.description)
    return {name: place.shown(name) for name in names}


def age(place: Place, *names: str) -> None:
    """As if they had been made long ago: manifests count seconds, and tests take less."""
    for name in names:
        (path,) = place.root.rglob(f"{name}.manifest.json")
        content = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps(content | {"created_at": "2020-01-01T00:00:00+00:00"}), encoding="utf-8")


def made_again(shown: Mapping[str, Any]) -> list[str]:
    return [name for name, metadata in shown.items() if not metadata["skipped"].value]


def test_a_trained_cell_is_up_to_date_however_it_was_trained(place: Place) -> None:
    variables = {"GRPO_EPOCHS": "7", "RCE_LR": "0.002", "KL_BETA": "0.3"}
    command(place, *ALL, **variables)
    shown = click(place, *ALL)
    assert made_again(shown) == []
    assert shown["grpo_checkpoints"]["config"].value["grpo_epochs"] == 7
    text = shown["rce_checkpoints"]["settings"].value
    assert text == "as made (v3_RandSampler_tiny_vl); set in this run: none"


def test_a_field_that_is_set_wins_and_the_others_stay(place: Place) -> None:
    command(place, *ALL, GRPO_EPOCHS="7", RCE_LR="0.002", RCE_EPOCHS="2")
    shown = click(place, *ALL, ops={"rce_checkpoints": {"rce_epochs": 4}})
    assert made_again(shown)[0] == "rce_checkpoints"
    config = shown["rce_checkpoints"]["config"].value
    assert (config["rce_epochs"], config["rce_lr"]) == (4, 0.002)
    assert shown["grpo_checkpoints"]["config"].value["grpo_epochs"] == 7
    assert shown["rce_checkpoints"]["settings"].value.endswith("set in this run: rce_checkpoints.rce_epochs=4")


def test_the_defaults_are_there_for_who_asks(place: Place) -> None:
    command(place, *ALL, RCE_LR="0.002", GRPO_EPOCHS="1")
    shown = click(place, "rce_checkpoints", shared={"unset": "default"})
    assert shown["rce_checkpoints"]["config"].value["rce_lr"] == 0.001
    assert "settings" not in shown["rce_checkpoints"]


def test_a_command_without_flags_has_the_defaults_and_not_what_was_made(place: Place) -> None:
    """An unset field of its run means the default; ``train`` says so in its plan."""
    command(
        place,
        "candidate_pools",
        "beam_data",
        "v2_checkpoint",
        "embeddings",
        "rl_data",
        "rce_checkpoints",
        RCE_LR="0.002",
    )
    command(place, "rce_checkpoints")
    assert place.shown("rce_checkpoints")["config"].value["rce_lr"] == 0.001


def test_a_cell_that_nothing_is_made_of_has_the_defaults(place: Place) -> None:
    shown = click(place, "candidate_pools")
    text = shown["candidate_pools"]["settings"].value
    assert text == "defaults, for nothing is made yet; set in this run: none"


def test_no_grpo_epochs_is_nothing_to_do_and_the_rest_goes_on(place: Place) -> None:
    shown = click(place, *ALL)
    assert set(shown["grpo_checkpoints"]) == {"note"}
    assert shown["grpo_checkpoints"]["note"].value.startswith("nothing to do: the settings have no GRPO epochs")
    assert shown["evaluation"]["skipped"].value is False
    assert not list(place.root.rglob("grpo_checkpoints.manifest.json"))
    again = click(place, *ALL)
    assert [name for name in again if name != "grpo_checkpoints" and not again[name]["skipped"].value] == []
    assert place.unsynced() == {}
    age(place, "v2format_checkpoint")
    grpo = click(place, *ALL, ops={"grpo_checkpoints": {"grpo_epochs": 2}})  # and GRPO, once it is asked for
    assert grpo["grpo_checkpoints"]["config"].value["grpo_epochs"] == 2
    assert grpo["v2format_checkpoint"]["config"].value["phase"] == "grpo"  # is recommended, as by the command line


def test_the_check_of_no_grpo_passes(place: Place) -> None:
    from icd_assets.defs.automation.checks import CHECKS

    (grpo_check,) = [check for check in CHECKS if {key.asset_key.path[-1] for key in check.check_keys} == {GRPO}]
    click(place, *ALL)
    place.defs = dg.Definitions.merge(place.defs, dg.Definitions(asset_checks=[grpo_check]))
    shown = click(place, GRPO)
    assert "note" in shown[GRPO]


def test_grpo_that_is_there_stays_where_zero_epochs_are_asked_for(place: Place) -> None:
    command(place, *ALL, GRPO_EPOCHS="2")
    shown = click(place, "grpo_checkpoints", ops={"grpo_checkpoints": {"grpo_epochs": 0}})
    assert shown["grpo_checkpoints"]["skipped"].value is True
    assert "no GRPO epochs" in shown["grpo_checkpoints"]["note"].value
    assert list(place.root.rglob("grpo_checkpoints.manifest.json"))


def test_of_two_rewards_the_newest_goes_on_unless_one_is_named(place: Place) -> None:
    command(place, *ALL)
    age(place, "rce_checkpoints", "v2format_checkpoint")
    rest = ("rce_checkpoints", "v2format_checkpoint", "evaluation")
    command(place, *rest, REWARD_MODE="soft_only", RCE_LR="0.002")
    shown = click(place, *rest)
    assert made_again(shown) == []
    assert shown["rce_checkpoints"]["settings"].value.startswith("as made (v3_RandSampler_tiny_vl_soft_only)")
    named = click(place, *rest, reward={"mode": "auto"})
    assert made_again(named) == []
    assert named["rce_checkpoints"]["config"].value["rce_lr"] == 0.001


def test_a_run_stays_with_the_experiment_that_it_began(place: Place) -> None:
    """Another run's experiment may become the newest while it works."""
    from icd_assets.experiment.catalog import Catalog
    from icd_assets.experiment.cell import Cell
    from icd_assets.lineage.as_made import last_made
    from icd_assets.store.store import Store

    command(place, *ALL)
    (mine,) = place.root.rglob("rce_checkpoints.manifest.json")
    run_id = json.loads(mine.read_text(encoding="utf-8"))["run_id"]
    command(place, "rce_checkpoints", REWARD_MODE="soft_only")
    arguments = (Store(place.root), Cell.parse(KEY), Catalog.load(), {})
    newest, own = last_made(*arguments), last_made(*arguments, run_id)
    assert newest is not None and newest.settings.reward.mode == "soft_only"
    assert own is not None and own.settings.reward.mode == "hard_plus_soft"


@pytest.mark.parametrize("content", ["", "{", "[1]", "null", "\x00"])
def test_settings_that_cannot_be_read_are_not_guessed(place: Place, content: str) -> None:
    command(place, *ALL, RCE_LR="0.002")
    (path,) = place.root.rglob("v2format_checkpoint.manifest.json")
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=r"v2format_checkpoint\.manifest\.json is not a manifest"):
        click(place, "rce_checkpoints")


def test_a_bad_value_is_one_sentence(place: Place) -> None:
    command(place, *ALL)
    with pytest.raises(UserError, match=r"^rce_checkpoints\.rce_lr=-1\.0: "):
        click(place, "rce_checkpoints", ops={"rce_checkpoints": {"rce_lr": -1.0}})


def test_the_newer_choice_of_two_that_exclude_each_other_wins(place: Place) -> None:
    command(place, *ALL)
    normalized = {"rce_checkpoints": {"rce_use_normalized_reward": True}}
    shown = click(place, "rce_checkpoints", ops=normalized)
    assert shown["rce_checkpoints"]["config"].value["rce_use_raw_reward"] is False
    back = click(place, "rce_checkpoints", ops={"rce_checkpoints": {"rce_use_raw_reward": True}})
    assert back["rce_checkpoints"]["config"].value["rce_use_raw_reward"] is True


def test_every_field_of_the_form_is_unset_and_says_what_that_means() -> None:
    for step in STEP.values():
        form = launchpad_form(step)
        assert form().model_dump(exclude={"force"}) == {
            name: field.default for name, field in form.model_fields.items() if name != "force"
        }
        for name, field in form.model_fields.items():
            if name != "force":
                assert field.default in (None, "unset")
                assert "Not set: as made" in str(field.description)


@pytest.mark.parametrize("job", ["rce_recipe", "grpo_recipe"])
def test_the_recipes_name_the_phase_and_no_number_of_epochs(job: str) -> None:
    config = defs.resolve_job_def(job).get_run_config_for_partition_key(KEY)
    assert config == {
        "ops": {"v2format_checkpoint": {"config": {"source": job.removesuffix("_recipe")}}},
        "resources": {"shared": {"config": {"recipe": "beams"}}},
    }


@pytest.mark.parametrize("recipe", ["singles", "sequences", "rl"])
def test_a_recipe_of_labels_is_a_job_of_its_steps(recipe: Recipe) -> None:
    job = defs.resolve_job_def(f"{recipe}_recipe")
    assert job.get_run_config_for_partition_key(KEY) == {"resources": {"shared": {"config": {"recipe": recipe}}}}
    nodes = {key.to_user_string() for key in job.asset_layer.executable_asset_keys}
    assert nodes == {*STEPS_OF[recipe], "leaderboard"}


@pytest.mark.parametrize(("trained", "epochs"), [("0", 3), ("7", 7)])
def test_the_grpo_recipe_has_the_cells_epochs_else_three(place: Place, trained: str, epochs: int) -> None:
    command(place, *ALL, GRPO_EPOCHS=trained)
    assets = list(place.defs.assets or [])
    again = dg.Definitions(
        assets=assets, jobs=[dg.define_asset_job("grpo_recipe")], resources=place.defs.resources
    )
    ended = again.resolve_job_def("grpo_recipe").execute_in_process(
        instance=place.instance,
        partition_key=KEY,
        run_config={"resources": {"shared": {"config": {"results_root": str(place.root)}}}},
    )
    assert ended.success
    assert place.shown("grpo_checkpoints")["config"].value["grpo_epochs"] == epochs
    assert NOTES == {}


def test_rce_that_somebody_recommended_although_there_is_grpo_stays(place: Place) -> None:
    command(place, *ALL, GRPO_EPOCHS="2")
    settings = read_settings(
        environment={"GRPO_EPOCHS": "2"}, assignments={("v2format_checkpoint", "source"): "rce"}
    )
    names = ["v2format_checkpoint", "evaluation"]
    launch(place, tuple(names), build_run_config(settings, place.root, names, frozenset()))
    assert made_again(click(place, *ALL)) == []
    assert place.shown("v2format_checkpoint")["config"].value["phase"] == "rce"
