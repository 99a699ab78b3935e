"""Results that may only be read, and a file that may not: one sentence each, and the rest is looked at."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from icd_assets.vlm.answer_store import AnswerStore
from icd_assets_tests.lineage.test_lineage import RL, V3
from icd_assets_tests.worlds.manifests import KEY, World
from icd_assets_tests.worlds.workplace import ROOT

Command = Callable[..., "subprocess.CompletedProcess[str]"]
TRAIN = ("train", "vqa", "d0_local", "0", "query_img_text_icd_img_text", "rand_sampler", "model0", "--dry-run")


@pytest.fixture
def bound() -> Command:
    """The command line as a process that permissions bind, root too."""
    setpriv = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    if setpriv and shutil.which("setpriv") is None:
        pytest.skip("root reads every file, and setpriv (util-linux) is not here")

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*setpriv, sys.executable, "-m", "icd_assets.cli", *words],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


@pytest.fixture
def read_only(world: World) -> Iterator[World]:
    """A cell with answers, on a medium that may only be read."""
    world.cell()
    answers = world.root / ".icd_assets/answers.sqlite"
    with AnswerStore(answers) as store:
        store.add({bytes([n]) * 32: "an answer " * 50 for n in range(200)})
    with closing(sqlite3.connect(answers)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    paths = [world.root, *world.root.rglob("*")]
    modes = {path: path.stat().st_mode for path in paths}
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield world
    for path, mode in modes.items():
        if path.exists():
            path.chmod(mode)


def test_results_that_may_only_be_read_are_sound(read_only: World, bound: Command) -> None:
    ended = bound("verify")
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
    assert "nothing rotted" in ended.stdout
    answers = read_only.root / ".icd_assets/answers.sqlite"
    answers.chmod(0o000)
    ended = bound("verify")
    assert ended.returncode == 2
    assert "answers.sqlite cannot be read (unable to open database file)" in " ".join(ended.stdout.split())
    assert "move it away" not in ended.stdout
    content = bytearray(answers.read_bytes())
    content[4096:8192] = b"\xff" * 4096
    answers.chmod(0o644)
    answers.write_bytes(content)
    answers.chmod(0o444)
    assert "move it away, and answers are asked for again" in " ".join(bound("verify").stdout.split())


def test_prune_says_what_it_may_not_write(read_only: World, bound: Command) -> None:
    assert "would remove 6" in bound("prune", "--keep", "last").stdout
    ended = bound("prune", "--keep", "last", "--yes")
    assert ended.returncode == 2
    assert ended.stderr.startswith("icd-assets: ")
    assert "may not be read or written (Permission denied)" in ended.stderr
    assert "; fix its permissions" in ended.stderr
    assert (read_only.root / V3 / "rce_epoch1.pt").is_file()


def test_a_file_that_may_not_be_read_is_named_and_the_rest_is_looked_at(world: World, bound: Command) -> None:
    world.cell()
    (world.root / RL).chmod(0o000)
    (world.root / ".icd_assets/digests.json").unlink()  # what is remembered need not be read
    said = f"{world.root / RL} cannot be read (Permission denied)"
    ended = bound("verify", "--json")
    assert (ended.returncode, ended.stderr) == (2, "")
    assert json.loads(ended.stdout)["rotted"] == [f"{said} ({KEY})"]
    for words in (
        ("status", "--json"),
        ("lineage", "rl_data", KEY, "--verify", "--json"),
        ("why", "rl_data", KEY),
    ):
        ended = bound(*words)
        assert said in " ".join(ended.stdout.split()), ended.stderr
    refused = bound("lineage", str(world.root / RL))
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)
    assert "may not be read or written (Permission denied)" in refused.stderr
    # nothing is made again for it, and a manifest is told of in the same way
    assert f"{said}; fix its permissions" in bound(*TRAIN).stderr
    (world.root / f"{RL}.manifest.json").chmod(0o000)
    assert f"{RL}.manifest.json cannot be read (Permission denied)" in bound("status", "--json").stdout
    ended = bound("verify", "--json")
    assert f"{RL}.manifest.json cannot be read (Permission denied)" in ended.stdout
