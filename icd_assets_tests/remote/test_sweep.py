"""What nothing on a remote names goes, when it is old; what holds today stays; nobody is at work meanwhile."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from icd_assets.errors import UserError
from icd_assets.remote.shelf import Shelf
from icd_assets.remote.sweep import sweep
from icd_assets.remote.turns import pruning, pushing
from icd_assets_tests.remote.test_push_and_pull import remake, whole
from icd_assets_tests.worlds.two_homes import Homes, homes, tree

__all__ = ["homes"]
NOW, DAY = timedelta(0), timedelta(days=1)


def test_what_was_replaced_goes_and_the_rest_stays(homes: Homes) -> None:
    homes.push()
    remake(homes.mine, "better", "run-2")
    homes.push()
    before = {entry.name for entry in homes.remote.names()}
    assert sweep(homes.remote, older_than=DAY, dry_run=False).names == {}, "too young"
    shown = sweep(homes.remote, older_than=NOW, dry_run=True)
    assert {entry.name for entry in homes.remote.names()} == before
    done = sweep(homes.remote, older_than=NOW, dry_run=False)
    assert done.names == shown.names
    assert {name.partition("/")[0] for name in done.names} == {"manifests", "blobs", "lineage"}
    assert len(done.names) == 3
    assert {entry.name for entry in homes.remote.names()} == before - set(done.names)
    whole(homes.remote)
    homes.pull()
    assert tree(homes.theirs) == tree(homes.mine)
    assert sweep(homes.remote, older_than=NOW, dry_run=False).names == {}


def test_where_a_manifest_cannot_be_read_nothing_is_removed(homes: Homes) -> None:
    homes.push()
    path = next(Path(homes.address, "manifests").rglob("00000001.json"))
    path.write_bytes(b"{")
    done = sweep(homes.remote, older_than=NOW, dry_run=False)
    assert done.names == {} and "nothing is removed" in done.left_alone[-1]


def test_a_file_on_its_way_stays(homes: Homes) -> None:
    """Put by a push that was killed: it goes once it is a day old."""
    homes.push()
    blob = Path(homes.address, "blobs/00", "00" * 32)
    blob.parent.mkdir(exist_ok=True)
    blob.write_bytes(b"x")
    assert sweep(homes.remote, older_than=DAY, dry_run=False).names == {}
    os.utime(blob, (0, 0))
    assert set(sweep(homes.remote, older_than=DAY, dry_run=False).names) == {f"blobs/00/{'00' * 32}"}
    assert not blob.exists()


def test_one_at_a_time(homes: Homes) -> None:
    homes.push()
    who = r"a push of .*, process \d+, since .* Wait for its end"
    with pushing(homes.remote), pushing(homes.remote), pytest.raises(UserError, match=who):
        sweep(homes.remote, older_than=NOW, dry_run=False)
    with pruning(homes.remote):
        with pytest.raises(UserError, match="a prune of"):
            homes.push()
        with pytest.raises(UserError, match="a prune of"):
            sweep(homes.remote, older_than=NOW, dry_run=False)
    assert not list(homes.remote.names("locks"))


def test_the_lock_of_a_killed_push_ends_after_a_day(homes: Homes) -> None:
    homes.push()
    path = Path(homes.address, "locks/push-x.json")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"[]")
    with pytest.raises(UserError, match=r"locks/push-x\.json"):
        sweep(homes.remote, older_than=NOW, dry_run=False)
    os.utime(path, (0, 0))
    sweep(homes.remote, older_than=NOW, dry_run=False)
    assert Shelf(homes.remote).held
