"""``icd-assets settings``: all names, values, and where each comes from; and slips in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from icd_assets.cli import group
from icd_assets.errors import UserError
from icd_assets.experiment.settings import environment_fields, other_spellings
from icd_assets.experiment.settings_table import every_setting
from icd_assets.experiment.steps import STEPS, own_fields, sections
from icd_assets.runtime import home


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ICD_CATALOG", *environment_fields()):
        monkeypatch.delenv(name, raising=False)


def listed(*words: str) -> dict[str, Any]:
    ended = CliRunner().invoke(group, ["settings", *words, "--json"])
    assert ended.exit_code == 0, ended.exception
    document = json.loads(ended.stdout)
    assert document["schema"] == 1
    return {one["name"]: one for one in document["settings"]}


def where(one: dict[str, Any]) -> tuple[Any, str, str | None]:
    return one["value"], one["from"], one["by"]


def test_every_setting_is_there_once() -> None:
    expected = [f"{name}.{field}" for name in ("shared", "reward") for field in sections()[name].model_fields]
    expected += [f"{step.name}.{field}" for step in STEPS for field in own_fields(step)]
    assert list(listed()) == expected == [setting.name for setting in every_setting()]
    assert set(listed("rl_data")) == {name for name in expected if name.startswith("rl_data.")}
    variables = {one["variable"] for one in listed().values()} - {None}
    spellings = {other for variable in variables for other in other_spellings(variable)}
    assert variables | spellings == set(environment_fields())


def test_what_a_setting_may_be() -> None:
    found = listed()
    assert found["shared.shots"]["allowed"] == "integer ≥ 1, ≤ 16"
    assert found["rce_checkpoints.rce_lr"]["allowed"] == "number > 0"
    assert found["grpo_checkpoints.kl_beta"]["allowed"] == "number ≥ 0, or unset"
    assert found["evaluation.shot_counts"]["allowed"] == "list of: integer ≥ 1"
    assert found["rl_data.path"]["allowed"] == "a path, or unset"
    assert found["rce_checkpoints.rce_target"]["choices"] == ["softmax", "above_mean", "tilted"]
    assert found["reward.mode"]["choices"][:2] == ["auto", "hard_plus_soft"]


def test_a_value_names_its_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RCE_EPOCHS", "7")
    monkeypatch.setenv("GRPO_EPOCHS", "2")
    monkeypatch.setattr(home, "FROM_ENV_FILE", {"GRPO_EPOCHS"})
    found = listed(
        "--preset", "plan_five", "--rce_lr", "0.5", "--set", "rl_data.num_beams=8", "demo|RandSampler/tiny_vl"
    )
    assert where(found["rce_checkpoints.rce_epochs"]) == (7, "environment", "RCE_EPOCHS")
    assert where(found["grpo_checkpoints.grpo_epochs"]) == (2, ".env", "GRPO_EPOCHS")
    assert where(found["grpo_checkpoints.kl_beta"]) == (0.1, "preset", "plan_five")
    assert where(found["rce_checkpoints.rce_lr"]) == (0.5, "flag", "--rce-lr")
    assert where(found["rl_data.num_beams"]) == (8, "set", "--set")
    assert where(found["v2_checkpoint.epochs"]) == (8, "catalog", None)
    assert where(found["v2format_checkpoint.source"]) == ("grpo", "recipe", None)
    assert where(found["rce_checkpoints.batch_size"]) == (1, "preset", "plan_five")
    assert where(found["rce_checkpoints.grad_clip"]) == (1.0, "default", None)


def test_a_decided_contradiction_is_shown_as_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RCE_USE_NORMALIZED_REWARD", "true")
    assert where(listed()["rce_checkpoints.rce_use_raw_reward"]) == (False, "recipe", None)


@pytest.mark.parametrize(
    "cell",
    [
        ["demo|RandSampler/tiny_vl"],
        ["demo", "rand_sampler", "tiny_vl"],
        ["vqa", "demo", "0", "query_img_text_icd_img_text", "rand_sampler", "tiny_vl"],
    ],
)
def test_a_cell_is_written_in_three_ways(cell: list[str]) -> None:
    assert listed("evaluation", *cell)["evaluation.oracle_beams"]["from"] == "catalog"
    assert listed("evaluation")["evaluation.oracle_beams"]["from"] == "default"


def test_the_name_of_a_subset_implies_a_setting() -> None:
    found = listed("evaluation", "vqav2_local_sub", "rand_sampler", "qwen2.5_vl_3B")
    assert where(found["evaluation.subset"]) == (True, "recipe", None)


def test_in_words_at_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RCE_EPOCHS", "7")
    text = CliRunner().invoke(group, ["settings", "rce_checkpoints"]).stdout
    assert "rce_checkpoints.rce_epochs = 7  (from RCE_EPOCHS; default 5)" in text
    assert "--rce-epochs, RCE_EPOCHS" in text
    assert [line for line in text.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["rl_dat"], "there is no asset 'rl_dat'; valid: shared, reward, candidate_pools"),
        (["rl_dat"], "did you mean rl_data or beam_data?"),
        (
            ["rl_data", "demo", "rand_sampler"],
            "'demo rand_sampler' is not a partition key, nor three or six words; name one cell: its key",
        ),
        (["a|b"], "not a partition key"),
        (["demo|NoSampler/tiny_vl"], "unknown sampler 'NoSampler'"),
        (["caption", "demo", "0", "x", "rand_sampler", "tiny_vl"], "task 'caption' is not that of demo"),
        (["--set", "rl_data.num_beam=8"], "did you mean rl_data.num_beams"),
        (["--set", "rce.kl_beta=1"], "did you mean grpo_checkpoints.kl_beta?"),
        (["--set", "rl_data=8"], "write --set asset.field=value"),
        (
            ["--preset", "lever-plus"],
            "unknown preset 'lever-plus'; valid: lever_plus, plan_five, dense, sequences, weak_start; did you "
            "mean lever_plus?",
        ),
    ],
)
def test_bad_words_are_one_sentence(words: list[str], sentence: str) -> None:
    ended = CliRunner().invoke(group, ["settings", *words])
    assert isinstance(ended.exception, UserError)
    assert sentence in str(ended.exception)
    assert ended.stdout == ""


def test_a_misspelt_variable_is_named_on_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RCE_EPOCH", "7")
    ended = CliRunner().invoke(group, ["settings", "--json"])
    assert ended.stderr == "icd-assets: RCE_EPOCH is set, but is no setting; did you mean RCE_EPOCHS?\n"
    json.loads(ended.stdout)


def test_the_env_file_is_known_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    (tmp_path / ".env").write_text("RCE_EPOCHS=9\nGRPO_EPOCHS=1\n", encoding="utf-8")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setenv("GRPO_EPOCHS", "4")
    monkeypatch.setenv("RCE_EPOCHS", "")
    monkeypatch.delenv("RCE_EPOCHS")
    monkeypatch.setattr(home, "FROM_ENV_FILE", set())
    home.load_env_file()
    try:
        assert {"RCE_EPOCHS"} == home.FROM_ENV_FILE
    finally:
        monkeypatch.delenv("RCE_EPOCHS")
