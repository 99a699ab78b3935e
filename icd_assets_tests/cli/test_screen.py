"""Words and tables on screens of any width: nothing is cut, and a log is not broken at all."""

from __future__ import annotations

import io
import re
import time
from pathlib import Path

import pytest
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from icd_assets import cli
from icd_assets.cli import moving_line, screen
from icd_assets.cli.step_lines import StepLines
from icd_assets.runtime import progress

CELL = "okvqa_local|RandSampler/Qwen2_5-VL-3B-Instruct"


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    file = io.StringIO()
    monkeypatch.setattr(screen.console, "_file", file)
    return file


def table() -> Table:
    made = Table("cell", "pools", "beams", "RL data", box=None, pad_edge=False)
    made.add_row(Text(CELL), Text("fresh", "green"), "stale", "–")
    return made


@pytest.mark.parametrize("columns", [40, 60, 80, 120, None])
def test_a_name_is_never_cut(shown: io.StringIO, monkeypatch: pytest.MonkeyPatch, columns: int | None) -> None:
    monkeypatch.setattr(screen, "screen_width", lambda: columns)
    screen.console.print(table())
    screen.console.print(f"{CELL}: rl_data is being made by process 1 since noon")
    lines = shown.getvalue().split("\n")
    assert len([line for line in lines if CELL in line]) == 2
    assert "…" not in shown.getvalue()
    assert all(len(line.rstrip()) <= columns or line.strip(":") == CELL for line in lines if columns)
    words = shown.getvalue().split()
    assert words.count("fresh") + words.count("fresh;") == 1 and "process" in words


def test_sentences_in_a_table_are_narrowed_before_it_is_given_up(
    shown: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Table("asset", "state", "why", box=None, pad_edge=False)
    made.columns[-1].min_width = 24
    made.add_row("grpo_checkpoints", "stale", "after rce_checkpoints, rl_data and much else")
    monkeypatch.setattr(screen, "screen_width", lambda: 60)
    screen.console.print(made)
    assert shown.getvalue().split("\n")[0].split() == ["asset", "state", "why"]
    shown.truncate(0)
    monkeypatch.setattr(screen, "screen_width", lambda: 40)
    screen.console.print(made)
    assert "grpo_checkpoints  stale\n  after rce_checkpoints, rl_data and\n  much else\n" in shown.getvalue()


def test_a_log_has_one_line_per_row_and_sentence(shown: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "screen_width", lambda: None)
    made = Table("asset", "why", box=None, pad_edge=False)
    made.add_row("rl_data", "because " * 60)
    screen.console.print(made)
    screen.console.print("word " * 100)
    assert len(shown.getvalue().rstrip("\n").split("\n")) == 3


def test_wide_characters_count_twice() -> None:
    assert screen.wrapped(Text("写真 写真 写真"), 10).plain == "写真 写真\n写真"


def test_a_silent_step_gets_a_line_now_and_then(shown: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving_line, "_FRAME_SECONDS", 0.01)
    monkeypatch.setattr(moving_line, "_LINE_EVERY_SECONDS", 0.1)
    monkeypatch.setattr(moving_line, "_LINE_AT_LEAST_SECONDS", 0.3)
    with StepLines(1) as lines:
        lines.started("rl_data", "missing")
        time.sleep(0.8)
        silent = shown.getvalue()
        lines.moved("rl_data", progress.Reached(3, 9, "questions"))
        time.sleep(0.3)
        lines.ended("rl_data", 1.2)
    assert 1 <= silent.count("      rl_data: at work for") <= 2
    assert "      rl_data: 3/9 questions\n" in shown.getvalue()
    assert shown.getvalue().endswith("      rl_data: made in 1.2 s\n")


def test_what_cannot_be_written_stops_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def write(self, text: str, /) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(moving_line, "_FRAME_SECONDS", 0.01)
    monkeypatch.setattr(moving_line, "_LINE_AT_LEAST_SECONDS", 0.05)
    with StepLines(1) as lines:
        lines._asset = "rl_data"
        monkeypatch.setattr(screen.console, "_file", Full())
        time.sleep(0.3)
        with pytest.raises(OSError, match="No space left"):
            lines.moved("rl_data", progress.Reached(1, 2))
        monkeypatch.undo()


PLAIN = "[red]a[/] [link=b]c :smile:"  # would be markup
HOSTILE = f"{PLAIN}\x1b]0;c\x07\x1b[2J\u202ed"


@pytest.mark.parametrize("columns", [200, None])
@pytest.mark.parametrize("kind", ["text", "rich text", "cell", "header", "tree"])
def test_no_name_steers_the_terminal_or_is_read_as_markup(
    shown: io.StringIO, monkeypatch: pytest.MonkeyPatch, kind: str, columns: int | None
) -> None:
    monkeypatch.setattr(screen, "screen_width", lambda: columns)
    made = Table(HOSTILE if kind == "header" else "name", box=None)
    made.add_row(HOSTILE)
    tree = Tree(HOSTILE)
    tree.add(Text(HOSTILE))
    screen.console.print({"text": HOSTILE, "rich text": Text(HOSTILE), "tree": tree}.get(kind, made))
    written = shown.getvalue()
    assert "\x1b" not in written and "\u202e" not in written
    assert PLAIN in written


def test_every_line_of_a_command_takes_the_exit() -> None:
    """No command writes by another way than the console and echo(): a name would reach the terminal raw."""
    other = re.compile(r"(?<![\w.])(?:click\.secho|click\.echo|print|sys\.std(?:out|err)\.write)\(")
    for path in Path(cli.__file__).parent.glob("*.py"):
        if path.name != "echo.py":
            assert not other.findall(path.read_text("utf-8").replace("def print(", "")), path.name
