"""A person at a terminal: what is drawn while steps run, what a log gets instead, and how Ctrl-C ends it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from icd_assets.experiment.recipes import STEPS_OF
from icd_assets.experiment.steps import STEP
from icd_assets_tests.worlds.terminal import Terminal, plain
from icd_assets_tests.worlds.workplace import CELL, KEY, Workplace, new_workplace, shrink

COMMAND = [sys.executable, "-m", "icd_assets.cli"]
DENSE = STEPS_OF["rl"] - STEPS_OF["beams"] | {"rl_queries"}
SENTENCE = "icd-assets: interrupted; what is complete is kept, and the same command goes on from there"
BEAMS = [asset for asset in STEP if asset in STEPS_OF["beams"] and asset != "rl_queries"]
SHORT = {"RCE_EPOCHS": "2", "GRPO_EPOCHS": "2", "OMP_NUM_THREADS": "1", "TERM": "xterm-256color"}


def at_terminal(place: Workplace, *arguments: str, columns: int = 80, **variables: str) -> Terminal:
    environment = place.environment | SHORT | variables
    return Terminal(
        [*COMMAND, *arguments], place.folder, environment, columns=columns, stderr=place.folder / "stderr.txt"
    )


def stderr(place: Workplace) -> list[str]:
    return (place.folder / "stderr.txt").read_text(encoding="utf-8").splitlines()


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workplace, Terminal]:
    """The whole pipeline, watched at 80 columns."""
    place = new_workplace(tmp_path_factory.mktemp("watched"))
    shrink(place)
    terminal = at_terminal(place, "train", *CELL)
    assert terminal.end(600) == 0, terminal.text[-3000:]
    return place, terminal


@pytest.mark.slow
def test_every_long_step_is_drawn_while_it_runs(watched: tuple[Workplace, Terminal]) -> None:
    place, terminal = watched
    for asset, unit in (("beam_data", "questions"), ("evaluation", "prompts")):
        drawn = [now for now, text in terminal.pieces if re.search(rf"\] {asset}  \d+/\d+ {unit}", text)]
        ended = next(now for now, text in terminal.pieces if f"{asset}: made in" in text)
        assert drawn and drawn[0] < ended
    began = next(now for now, text in terminal.pieces if "] beam_data" in text)
    frames = [now for now, text in terminal.pieces if "] beam_data" in text and now >= began]
    assert max(after - before for before, after in pairwise(frames)) < 5
    assert stderr(place) == []


@pytest.mark.slow
def test_what_is_left_on_the_screen_is_one_line_per_step(watched: tuple[Workplace, Terminal]) -> None:
    _, terminal = watched
    lines = [row for row in terminal.rows if re.match(r"\[\d/9\]", row)]
    assert len(lines) == 9
    for number, (asset, line) in enumerate(zip(BEAMS, lines, strict=True), start=1):
        assert re.fullmatch(rf"\[{number}/9\] {asset}: made in \d+\.\d s", line)
    assert "\x1b[?25l" not in terminal.text  # the cursor was never hidden


@pytest.mark.slow
@pytest.mark.parametrize("columns", [80, 40])
def test_narrow_screens_show_names_whole(watched: tuple[Workplace, Terminal], columns: int) -> None:
    place, _ = watched
    shown = {}
    for command in (["status"], ["train", *CELL, "--dry-run"], ["why", "rl_data", KEY], ["verify"]):
        terminal = at_terminal(place, *command, columns=columns)
        assert terminal.end() == 0
        shown[command[0]] = terminal.rows
        words = {word for row in terminal.rows for word in row.split()}
        assert not [word for word in words if "…" in word]
    assert any(KEY in row for row in shown["status"])
    for asset in BEAMS:
        assert any(asset in row.split() for row in shown["train"])


@pytest.mark.slow
def test_a_log_gets_lines_and_no_control_codes(watched: tuple[Workplace, Terminal]) -> None:
    place, _ = watched
    again = ["train", *CELL, "--to", "v2_checkpoint", "--force", "v2_checkpoint"]
    piped = place.run(*again, **SHORT)
    dumb = at_terminal(place, *again, TERM="dumb")
    assert dumb.end() == 0
    for text in (piped.stdout, dumb.text.replace("\r\n", "\n")):
        assert "[1/1] v2_checkpoint: forced\n" in text
        assert "v2_checkpoint: made in" in text
        assert not re.search(r"[\x00-\x09\x0b-\x1f]", text)


@pytest.mark.slow
def test_no_color_is_none(watched: tuple[Workplace, Terminal]) -> None:
    place, _ = watched
    for value, colored in (("", True), ("1", False)):
        terminal = at_terminal(place, "status", NO_COLOR=value)
        assert terminal.end() == 0
        assert (re.search(r"\x1b\[[0-9;]*m", terminal.text) is not None) == colored


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """One folder for all steps: each is interrupted, and the next command goes on to the one after it."""
    place = new_workplace(tmp_path_factory.mktemp("interrupted"))
    shrink(place)
    return place


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "asset"),
    [*(("beams", asset) for asset in BEAMS), *(("rl", asset) for asset in STEP if asset in DENSE)],
)
def test_ctrl_c_in_a_step_is_one_sentence(interrupted: Workplace, recipe: str, asset: str) -> None:
    # Forced: a short step may be done before the key press of the test before it arrives.
    terminal = at_terminal(interrupted, "train", *CELL, "--recipe", recipe, "--force", asset)
    terminal.read_until(f"] {asset}")
    terminal.press_ctrl_c()
    assert terminal.end(60) == 130
    assert [plain(line) for line in stderr(interrupted)] == [SENTENCE]
    assert "Traceback" not in terminal.text
    assert "\x1b[?25l" not in terminal.text  # the cursor was never hidden


@pytest.mark.slow
@pytest.mark.parametrize("marker", ["", "task", "asset"])
def test_ctrl_c_before_the_first_step(workplace: Workplace, marker: str) -> None:
    """While modules are imported, while the plan is made, while Dagster starts."""
    terminal = at_terminal(workplace, "train", *CELL)
    while b"icd_assets.cli\0" not in Path(f"/proc/{terminal.pid}/cmdline").read_bytes():
        time.sleep(0.01)  # on a busy machine the program takes its time to be there
    terminal.read(0.3)
    terminal.read_until(marker)
    terminal.press_ctrl_c()
    assert terminal.end(60) == 130
    assert [plain(line) for line in stderr(workplace)] == [SENTENCE]


@pytest.mark.slow
def test_ctrl_c_twice_and_sigterm(interrupted: Workplace) -> None:
    terminal = at_terminal(interrupted, "train", *CELL, "--force", "evaluation")
    terminal.read_until("] evaluation")
    terminal.press_ctrl_c()
    terminal.press_ctrl_c()
    assert terminal.end(60) == 130
    assert [plain(line) for line in stderr(interrupted)] == [SENTENCE]
    terminal = at_terminal(interrupted, "train", *CELL, "--force", "evaluation")
    terminal.read_until("] evaluation")
    os.kill(terminal.pid, signal.SIGTERM)
    assert terminal.end(60) == 130
    assert [plain(line) for line in stderr(interrupted)] == [SENTENCE]


@pytest.mark.slow
@pytest.mark.parametrize("command", [["doctor"], ["--help"], ["status", "--all"], ["train", *CELL, "--dry-run"]])
def test_a_reader_that_goes_away_ends_it_without_a_word(workplace: Workplace, command: list[str]) -> None:
    with subprocess.Popen(
        [*COMMAND, *command],
        cwd=workplace.folder,
        env=workplace.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        assert running.stdout is not None and running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == b""
        assert running.wait(60) == 141


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_behind_stdout_is_named_and_a_closed_stdout_is_nothing(workplace: Workplace) -> None:
    shell = ["sh", "-c"]
    program = f"{sys.executable} -m icd_assets.cli status"
    full, closed = (
        subprocess.run(
            [*shell, f"{program} {to}"],
            cwd=workplace.folder,
            env=workplace.environment,
            capture_output=True,
            text=True,
        )
        for to in (">/dev/full", ">&- 2>&-")
    )
    assert full.returncode == 2
    assert full.stderr.startswith("icd-assets: stdout cannot be written (No space left on device)")
    assert len(full.stderr.splitlines()) == 1
    assert closed.returncode == 0
