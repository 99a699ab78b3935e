"""Help as a user reads it: grouped, one spelling, examples that work, 80 columns."""

from __future__ import annotations

import shlex
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from icd_assets.cli import group
from icd_assets.cli.help import Command
from icd_assets.experiment.settings_table import every_setting
from icd_assets.experiment.steps import STEP


def help_of(*words: str, width: int = 80) -> str:
    ended = CliRunner().invoke(group, [*words, "--help"], env={"COLUMNS": str(width)}, prog_name="icd-assets")
    assert ended.exit_code == 0
    return ended.output


def test_commands_stand_under_four_headings() -> None:
    text = help_of()
    order = [text.index(f"\n{title}:\n") for title in ("Make", "See", "Keep", "Set up")]
    assert order == sorted(order)
    assert sorted(name for names in group.sections.values() for name in names) == sorted(group.commands)
    assert "..." not in text.split("Make:")[1]  # no line is cut


@pytest.mark.parametrize("name", sorted(group.commands))
def test_every_command_has_examples_and_fits_80_columns(name: str) -> None:
    command = group.commands[name]
    assert isinstance(command, Command) and command.short_help
    assert len(command.examples) > 0
    text = help_of(name)
    assert text.index("\nExamples:\n") > text.index("\nOptions:\n")
    assert [line for line in text.splitlines() if len(line) > 80] == []
    assert len(text.splitlines()) < 70


@pytest.mark.parametrize("name", ["", *sorted(group.commands)])
def test_help_fits_40_columns_but_for_what_is_to_be_typed(name: str) -> None:
    text = help_of(*[name] if name else [], width=40).split("\nExamples:\n")[0]
    too_long = [line for line in text.splitlines() if len(line) > 40 and not line.endswith(":")]  # a heading
    assert [line for line in too_long if len(line.split()) > 2] == []


@pytest.mark.parametrize(
    "example", [one for command in group.commands.values() for one in getattr(command, "examples", ())]
)
def test_examples_are_understood(example: str) -> None:
    program, name, *rest = shlex.split(example, comments=True)
    assert program == "icd-assets"
    context = click.Context(group, info_name=program)
    group.commands[name].make_context(name, rest, parent=context)


def test_one_spelling_is_shown_and_the_other_understood() -> None:
    text = help_of("train")
    variables = {setting.variable for setting in every_setting() if setting.variable is not None}
    for variable in variables - {"RUN_NAME"}:
        dashed = variable.lower().replace("_", "-")
        assert f"--{dashed} " in text or f"--[no-]{dashed} " in text
        assert f"--{variable.lower()} " not in text or "_" not in variable
    train = group.commands["train"]
    for flag in ("--rce-epochs", "--rce_epochs"):
        assert train.make_context("train", [flag, "3"]).params["rce_epochs"] == "3"
    for flag in ("--no-use-ppo-clip", "--no_use_ppo_clip"):
        assert train.make_context("train", [flag]).params["use_ppo_clip"] is False


def test_flags_of_train_stand_under_their_asset() -> None:
    text = help_of("train")
    assert text.index("  rce_checkpoints:\n") < text.index("--rce-lr") < text.index("  grpo_checkpoints:\n")
    assert text.index("  grpo_checkpoints:\n") < text.index("--kl-beta")


def test_what_a_step_is_called_stays_as_it_is() -> None:
    """Names of assets have underscores, which are no spelling of a dash."""
    for asset in STEP:
        assert group.commands["train"].make_context("train", ["--to", asset]).params["to"] == asset
        assert group.commands["doctor"].make_context("doctor", ["--to", asset]).params["to"] == asset


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["stats"], "there is no command 'stats'; did you mean status?"),
        (["xyzzy"], "there is no command 'xyzzy'; valid: train, demo"),
        (["train", "--rce-epoch", "3"], "--rce-epochs"),
        (["status", "--grpo_epoch", "3"], "--grpo-epochs"),
    ],
)
def test_an_unknown_name_is_answered_with_a_near_one(words: list[str], sentence: str) -> None:
    ended = CliRunner().invoke(group, words)
    assert ended.exit_code == 2
    assert ended.stdout == ""
    assert sentence in ended.stderr


def test_no_command_is_imported_before_it_is_asked_for() -> None:
    shown = "import sys, icd_assets.cli; print([*sys.modules])"
    ended = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, check=True)
    assert "icd_assets.cli.help" in ended.stdout
    assert not any(f"icd_assets.cli.{name}'" in ended.stdout for name in group.commands)
    assert [name for name, command in group.commands.items() if command.name != name] == []
