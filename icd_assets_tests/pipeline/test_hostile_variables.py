"""Variables and arguments that name places, set to what is none: one sentence, exit 2, and nothing is written."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from icd_assets.cli import group
from icd_assets.errors import UserError
from icd_assets.experiment.settings import environment_fields
from icd_assets_tests.pipeline.test_hostile_files import WAIT_SECONDS, _tree
from icd_assets_tests.worlds.limits import TooLongError, limits
from icd_assets_tests.worlds.manifests import World, new_world

CELL, OTHER = "d0|RandSampler/m0", "d1|RandSampler/m0"
# One way to call each command.
COMMANDS: dict[str, tuple[str, ...]] = {
    "adopt": ("results", "--dry-run"),
    "card": (CELL,),
    "compare": (CELL, OTHER),
    "demo": (),
    "diff": (CELL, OTHER),
    "doctor": (CELL,),
    "evaluation": (CELL,),
    "export": (CELL,),
    "gpus": (),
    "headroom": (CELL,),
    "init": (".",),
    "leaderboard": (),
    "lineage": (CELL,),
    "new-dataset": ("datasets", "--dry-run"),
    "prune": (),
    "pull": ("--remote", "/there", "--dry-run"),
    "push": ("--remote", "/there", "--dry-run"),
    "publish": (CELL, "owner/name", "--dry-run", "--license", "mit"),
    "report": (CELL,),
    "select": ("picture.png", "What?", CELL),
    "serve": (CELL,),
    "settings": (CELL,),
    "status": (),
    "train": (CELL,),
    "ui": (),
    "verify": (),
    "why": ("evaluation", CELL),
}
# Those that have no use for a variable may go on without it.
UNUSED = {
    "RESULT_DIR": {"gpus", "init", "new-dataset", "settings"},
    "ICD_CATALOG": {"gpus", "init", "new-dataset"},
    "DAGSTER_HOME": {"gpus", "init", "new-dataset", "settings"},
}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def _pipe(place: Path) -> str:
    os.mkfifo(place / "pipe")
    return str(place / "pipe")


def _file(place: Path) -> str:
    (place / "file").write_bytes(b"remember the milk\n")
    return str(place / "file")


def _link(place: Path, name: str, target: str) -> str:
    (place / name).symlink_to(target)
    return str(place / name)


# Each makes something, and gives what the variable is set to.
VALUES: dict[str, Callable[[Path], str]] = {
    "no UTF-8": lambda place: f"{place}/\udcff\udce4",
    "newline": lambda place: f"{place}/a\nb",
    "escape": lambda place: f"{place}/\x1b]0;owned\x07\x1b[2J",
    "nobody's home": lambda place: "~nosuchuser/results",
    "bucket": lambda place: "s3://bucket/results",
    "address": lambda place: "https://example.org/results",
    "file address": lambda place: f"file://{place}/results",
    "file": _file,
    "in a file": lambda place: f"{_file(place)}/results",
    "pipe": _pipe,
    "in a pipe": lambda place: f"{_pipe(place)}/results",
    "device": lambda place: "/dev/zero",
    "dangling link": lambda place: _link(place, "dangling", "no-such-place"),
    "loop": lambda place: _link(place, "loop", "loop"),
    "in a loop": lambda place: _link(place, "loop", "loop") + "/results",
    "long name": lambda place: f"{place}/{'n' * 300}",
    "long path": lambda place: f"{place}/{'n/' * 3000}",
    "deep": lambda place: "/" + "../" * 1200 + f"{'n' * 250}/" * 3,
}
# A catalog is a file, and a home need not be there.
FITS = {("ICD_CATALOG", "file")}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    here, environment = Path.cwd(), dict(os.environ)
    made = new_world(tmp_path_factory.mktemp("hostile") / "work", datasets=2)
    (made.folder / ".env").write_text("# nothing\n", encoding="utf-8")
    made.root.mkdir()
    for name in ("RESULT_DIR", *environment_fields()):
        os.environ.pop(name, None)
    os.environ |= {"ICD_CATALOG": str(made.folder / "catalog.yaml"), "DAGSTER_HOME": str(made.folder)}
    for command in ("init", "doctor"):  # what they write of their own is there
        os.chdir(made.folder)
        CliRunner().invoke(group, [command])
    yield made
    os.chdir(here)
    os.environ.clear()
    os.environ.update(environment)


def test_every_command_is_tried() -> None:
    assert {*COMMANDS} == {*group.commands}


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("variable", UNUSED)
def test_a_place_that_is_none_is_refused(
    variable: str, kind: str, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(*_: object) -> None:
        raise AssertionError("a program is started")

    monkeypatch.setattr("os.execv", started)
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    value = VALUES[kind](tmp_path)
    wrong = []
    for command, words in COMMANDS.items():
        os.chdir(world.folder)
        os.environ |= {"ICD_CATALOG": str(world.folder / "catalog.yaml"), "DAGSTER_HOME": str(world.folder)}
        os.environ.pop("RESULT_DIR", None)
        os.environ[variable] = value
        before = _tree(world.folder) | _tree(tmp_path)
        try:
            with limits(WAIT_SECONDS):
                result = CliRunner().invoke(group, [command, *words])
        except TooLongError:
            wrong.append(f"{command}: hangs")
            continue
        error = result.exception
        if _tree(world.folder) | _tree(tmp_path) != before:
            wrong.append(f"{command}: writes")
        if command in UNUSED[variable] and (error is None or isinstance(error, UserError)):
            continue
        if isinstance(error, UserError):
            text = str(error)
            if len(text) > 1200 or "\n" in text.rstrip("\n") or _CONTROL.search(text):
                wrong.append(f"{command}: says {text[:300]!r}")
            elif not _names(text, variable, value, tmp_path):
                wrong.append(f"{command}: does not name it: {text[:300]}")
        elif error is None or not isinstance(error, SystemExit):
            wrong.append(f"{command}: {type(error).__name__} {str(error)[:200]!r} {result.output[-200:]!r}")
        elif result.exit_code != 2:
            wrong.append(f"{command}: exit {result.exit_code}")
    if (variable, kind) not in FITS:
        assert wrong == []


ARGUMENTS = (
    ("adopt",),
    ("init",),
    ("new-dataset",),
    ("select",),
    ("card", CELL, "--to"),
    ("compare", CELL, OTHER, "--html"),
    ("leaderboard", "--html"),
    ("report", CELL, "--output"),
    ("export", CELL, "--to"),
    ("export", CELL, "--to", "new", "--data"),
    ("export", CELL, "--to", "new", "--sign"),
    ("new-dataset", "datasets", "--catalog"),
    ("new-dataset", "datasets", "--train"),
)


@pytest.mark.parametrize("kind", ["no UTF-8", "nobody's home", "bucket", "address", "long name", "long path"])
@pytest.mark.parametrize("words", ARGUMENTS, ids=" ".join)
def test_an_argument_that_is_no_path(words: tuple[str, ...], kind: str, world: World, tmp_path: Path) -> None:
    os.chdir(world.folder)
    os.environ |= {"ICD_CATALOG": str(world.folder / "catalog.yaml"), "DAGSTER_HOME": str(world.folder)}
    os.environ.pop("RESULT_DIR", None)
    before = _tree(world.folder)
    more = ("What?",) if words == ("select",) else ()
    value = VALUES[kind](tmp_path)
    error = CliRunner().invoke(group, [*words, value, *more]).exception
    assert isinstance(error, UserError), error
    assert len(str(error)) < 600 and _CONTROL.search(str(error)) is None
    assert _tree(world.folder) == before


def _names(text: str, variable: str, value: str, place: Path) -> bool:
    return variable in text or value[:60] in text or str(place) in text
