"""The ``.env`` of Dagster's home is read by every process of ours, and never wins over what is set."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from icd_assets.errors import UserError
from icd_assets.experiment.catalog import CATALOG
from icd_assets.experiment.experiment import results_root
from icd_assets.runtime.home import find_home, load_env_file, local_path
from icd_assets.runtime.new_home import write_home
from icd_assets.runtime.user_path import expanded
from icd_assets_tests.worlds.workplace import KEY, Workplace


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "dagster.yaml").touch()
    (tmp_path / "deep" / "down").mkdir(parents=True)
    monkeypatch.setattr(os, "environ", {"SET_ALREADY": "outside"})
    monkeypatch.chdir(tmp_path / "deep" / "down")
    return tmp_path


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}


def test_variables_are_added_and_none_is_overridden(home):
    text = "# paths\nexport OKVQA_PATH='/data/ok vqa'\nSET_ALREADY=file\nTEXT=$OTHER ${SET_ALREADY}\nEMPTY=\n"
    (home / ".env").write_text("\ufeff" + text, encoding="utf-8")
    load_env_file()
    assert environment() == {
        "SET_ALREADY": "outside",
        "OKVQA_PATH": "/data/ok vqa",
        "TEXT": "$OTHER outside",
        "EMPTY": "",
    }


def test_home_is_the_variable_else_the_nearest_folder_above(home, monkeypatch, tmp_path):
    assert find_home() == home
    os.environ["DAGSTER_HOME"] = str(tmp_path / "deep")
    (home / ".env").write_text("A=1")
    load_env_file()
    assert find_home() == tmp_path / "deep" and "A" not in os.environ


@pytest.mark.parametrize(
    ("content", "line"), [("A=1\nB\n", 2), ("=3", 1), ("A=1\n\nfoo bar", 3), ("D='open\nE=1", 1), ("A=x\0y", 1)]
)
def test_a_bad_line_is_named(home, content, line):
    (home / ".env").write_text(content)
    with pytest.raises(UserError, match=rf"\.env: line {line} is not NAME=value"):
        load_env_file()
    assert environment() == {"SET_ALREADY": "outside"}


def test_a_file_that_is_no_text(home):
    (home / ".env").write_bytes(b"A=\xff\xfe")
    with pytest.raises(UserError, match=r"\.env cannot be read as text"):
        load_env_file()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("'a=b'=c", "'a=b', which is no name of a variable"),
        ("A=1\n'x y'=c", "line 2 sets 'x y'"),
        ("A=" + "a" * 70_000, "the value of 'A' has more than 64 KiB"),
        ("A0=aaaaaaaa\n" + "".join(f"A{n + 1}=${{A{n}}}${{A{n}}}\n" for n in range(40)), "has more than 64 KiB"),
        ("A=" + "a" * 60_000 + "\n" + "".join(f"B{n}=${{A}}\n" for n in range(40)), "more than 512 KiB"),
        ("A=" + "${" * 30_000 + "\nB C", "line 2 is not NAME=value"),
        ("A=" + "x" * 300_000, "at most 0 are read|of which at most"),
    ],
)
def test_what_no_process_can_be_given(home, content, sentence):
    (home / ".env").write_text(content)
    begun = time.monotonic()
    with pytest.raises(UserError, match=sentence):
        load_env_file()
    assert environment() == {"SET_ALREADY": "outside"} and time.monotonic() - begun < 5


@pytest.mark.parametrize("kind", ["pipe", "folder", "loop", "sparse", "device"])
def test_what_is_no_file(home, kind):
    path = home / ".env"
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "loop":
            path.symlink_to(path)
        case "device":
            path.symlink_to("/dev/zero")
        case _:
            with path.open("wb") as file:
                file.truncate(10 << 30)
    with pytest.raises(UserError, match=r"\.env cannot be read as text \(.*\); fix it"):
        load_env_file()


def test_a_virtual_environment_is_no_env_file(home):
    (home / ".env").mkdir()
    (home / ".env" / "pyvenv.cfg").touch()
    load_env_file()
    assert environment() == {"SET_ALREADY": "outside"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("~nosuchuser/x", "no home folder of '~nosuchuser'"),
        ("a\0b", "holds '.x00'"),
        ("a\nb", "holds '.n'"),
        ("a/" + "x" * 300, "a name of 300 bytes"),
        ("a/" * 3000, "a path of 6,000 bytes"),
        (os.fsdecode(b"/data/\xff"), "is not UTF-8"),
    ],
)
def test_paths_that_are_none(text, sentence, monkeypatch):
    with pytest.raises(UserError, match=f"RESULT_DIR=.*{sentence}") as refused:
        local_path(text, "RESULT_DIR")
    assert len(str(refused.value)) < 300 and "delete" not in str(refused.value)
    with pytest.raises(UserError, match=sentence):
        expanded(text)


def test_the_command_line_hears_it_before_flags_and_variables(workplace: Workplace):
    (workplace.folder / ".env").write_text("RCE_EPOCHS=7\nRESULT_DIR=elsewhere\n")
    ended = workplace.train("--dry-run")
    assert "7 RCE epochs" in ended.stdout and str(workplace.folder / "elsewhere") in ended.stdout
    assert "4 RCE epochs" in workplace.train("--dry-run", RCE_EPOCHS="4").stdout
    (workplace.folder / ".env").write_text("RCE_EPOCHS\n")
    refused = workplace.train("--dry-run")
    assert refused.returncode == 2 and refused.stderr.startswith("icd-assets: ")
    assert len(refused.stderr.splitlines()) == 1 and ".env: line 1 is not NAME=value" in refused.stderr


@pytest.mark.slow
def test_a_run_that_dagster_launches_hears_it(workplace: Workplace):
    """From another folder: Dagster itself hears a .env in the working directory, but no other."""
    here = workplace.folder
    (here / ".env").write_text(f"RESULT_DIR={here}/elsewhere\nDEMO_PATH='{here}/demo files'\n")
    (here / "sub").mkdir()
    command = ["asset", "materialize", "-m", "icd_assets.definitions", "--select", "candidate_pools"]
    ended = subprocess.run(
        [Path(sys.executable).with_name("dagster"), *command, "--partition", KEY],
        cwd=here / "sub",
        env=workplace.environment | {"DAGSTER_HOME": str(here)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    assert list((here / "elsewhere" / "demo" / "cache").glob("demo-RandSampler-*.json"))
    assert (here / "demo files").is_dir() and not list((here / "sub").iterdir())


@pytest.mark.parametrize("text", ["s3://bucket/x", "gs://b", "file:///data", "hf://datasets/a", "S3:/b"])
def test_results_elsewhere_than_on_this_machine_are_refused(monkeypatch, text):
    monkeypatch.setenv("RESULT_DIR", text)
    with pytest.raises(UserError, match=r"RESULT_DIR=.* is no path of this machine"):
        results_root()


def test_a_path_may_hold_colons(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert local_path("a:b/c: d", "X") == tmp_path / "a:b/c: d"


def test_a_new_home_keeps_what_is_the_users(tmp_path):
    home = tmp_path / "new" / "home"
    home.mkdir(parents=True)
    (home / ".env").write_text("OKVQA_PATH=/data\n")
    (home / "dagster.yaml").touch()  # of an empty one Dagster sends telemetry
    assert [path.name for path in write_home(home)] == ["dagster.yaml", "workspace.yaml"]
    assert (home / ".env").read_text() == "OKVQA_PATH=/data\n"
    assert "telemetry: {enabled: false}" in (home / "dagster.yaml").read_text()
    assert write_home(home) == []


def test_a_home_below_the_users_own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DAGSTER_HOME", "~/experiments")
    assert find_home() == tmp_path / "experiments"


def test_a_home_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        write_home(tmp_path / "file" / "below")


def test_the_variables_of_a_new_home_are_variables_of_ours(tmp_path):
    """A line that is taken out of its comment must do something."""
    write_home(tmp_path)
    named = re.findall(r"^# ([A-Z_]+)=", (tmp_path / ".env").read_text(), re.M)
    catalog = CATALOG.read_text(encoding="utf-8")
    others = {"RESULT_DIR", "ICD_CATALOG", "HF_HOME", "HF_HUB_OFFLINE"}
    assert len(named) > 7
    assert all(name in others or f"${{{name}:-" in catalog for name in named)
