"""The same over S3's protocol, by real commands: killed at random moments, two at once, into an empty home."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from icd_assets.errors import UserError
from icd_assets.remote.place import CHUNK, Place
from icd_assets.remote.shelf import Shelf
from icd_assets.runtime.progress import ignore
from icd_assets.store.store import Store
from icd_assets.upkeep.verify import verify
from icd_assets_tests.remote.test_push_and_pull import remake, whole
from icd_assets_tests.remote.test_shared_answers import add, rows
from icd_assets_tests.worlds.manifests import STEP_NAMES, World, new_world
from icd_assets_tests.worlds.s3 import BUCKET, s3
from icd_assets_tests.worlds.two_homes import Homes, tree
from icd_assets_tests.worlds.workplace import ROOT

__all__ = ["s3"]
pytestmark = pytest.mark.slow
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def homes(tmp_path: Path, s3: dict[str, str]) -> Homes:
    mine = World(new_world(tmp_path / "mine").folder, file_bytes=300_000)
    mine.cell()
    add(mine, *range(2000))
    made = Homes(mine, mine, f"s3://{BUCKET}/{tmp_path.name}/a b")
    return Homes(mine, made.other("theirs"), made.address)


@pytest.fixture
def start(homes: Homes, s3: dict[str, str]) -> Start:
    def started(world: World, *words: str) -> subprocess.Popen[str]:
        environment = s3 | {
            "PYTHONPATH": str(ROOT),
            "ICD_CATALOG": str(world.folder / "catalog.yaml"),
            "PATH": "/usr/bin:/bin",
        }
        command = [sys.executable, "-m", "icd_assets.cli", *words, "--remote", homes.address]
        return subprocess.Popen(
            command, cwd=world.folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    return started


def ended(process: subprocess.Popen[str]) -> str:
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, output + errors
    assert "sesame" not in output + errors
    return output


def kill_at_random(start: Start, world: World, word: str, times: int) -> int:
    """How many of them were killed before their end; each is begun where the one before was struck."""
    began = time.monotonic()
    ended(start(world, word, "--dry-run"))
    seconds, struck = time.monotonic() - began, 0
    for number in range(times):
        process = start(world, word)
        time.sleep(seconds * random.Random(number).uniform(0.2, 1.3))
        process.kill()
        process.communicate()
        struck += process.returncode != 0
    return struck


@pytest.mark.parametrize("times", [3, pytest.param(20, marks=pytest.mark.torture)])
def test_killed_pushes_and_pulls_end_as_one_that_never_was(homes: Homes, start: Start, times: int) -> None:
    assert kill_at_random(start, homes.mine, "push", times)
    if not homes.remote.is_empty():
        whole(homes.remote)
    ended(start(homes.mine, "push"))
    whole(homes.remote)
    assert len(Shelf(homes.remote).held) == len(STEP_NAMES)
    assert kill_at_random(start, homes.theirs, "pull", times)
    ended(start(homes.theirs, "pull"))
    assert tree(homes.theirs) == tree(homes.mine)
    assert rows(homes.theirs) == rows(homes.mine)
    found = verify(Store(homes.theirs.root, rehash=True), (), ignore)
    assert (found.rotted, found.unfinished, found.orphaned, found.foreign) == ([], [], [], [])


def test_two_who_push_at_once(homes: Homes, start: Start) -> None:
    other = homes.other("other")
    world = World(other.folder, file_bytes=300_000)
    world.cell()
    remake(world, "other", "run-3")
    add(world, *range(1000, 3000))
    first, second = start(homes.mine, "push"), start(world, "push")
    ended(first)
    ended(second)
    whole(homes.remote)
    held = {one.manifest.spec.asset: one.manifest.data_version for one in Shelf(homes.remote).held.values()}
    versions = [w.experiment().manifest("rl_data").data_version for w in (homes.mine, world)]  # type: ignore[union-attr]
    assert len(held) == len(STEP_NAMES) and held["rl_data"] in versions
    ended(start(homes.theirs, "pull"))
    assert set(rows(homes.theirs)) == set(rows(homes.mine)) | set(rows(world))


def test_a_file_of_many_parts(homes: Homes) -> None:
    from icd_assets.remote.blobs import fetch, send
    from icd_assets.store.digests import sha256_file

    path = homes.mine.folder / "large"
    path.write_bytes(random.Random(0).randbytes(3 * CHUNK + 7))
    sha256, size = sha256_file(path), path.stat().st_size
    send(homes.remote, path, sha256, path.stat().st_size, lambda _: None)
    folder = homes.theirs.folder / "got"
    folder.mkdir()
    part = folder / f"{sha256}.part"
    part.write_bytes(path.read_bytes()[: CHUNK + 5])
    got: list[int] = []
    name = f"blobs/{sha256[:2]}/{sha256}"
    assert fetch(homes.remote, name, sha256, size, folder, got.append).read_bytes() == path.read_bytes()
    assert got == [CHUNK + 5, CHUNK, CHUNK, 2], "it goes on where it was"


def test_a_bucket_that_is_not_there(s3: dict[str, str]) -> None:
    with pytest.raises(UserError, match="is not there"):
        Place.open("s3://no-such-bucket/x").create("a", b"1")
