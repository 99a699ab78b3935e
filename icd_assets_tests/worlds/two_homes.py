"""Two users' folders with the same datasets and weights, and a remote between them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from icd_assets.remote.here import Here
from icd_assets.remote.place import Place
from icd_assets.remote.pull import pull
from icd_assets.remote.push import Done, push
from icd_assets.runtime.locks import wait_silently
from icd_assets.runtime.progress import ignore
from icd_assets_tests.worlds.manifests import World, new_world


@dataclass(frozen=True)
class Homes:
    """``mine`` is where results are made, ``theirs`` has none yet."""

    mine: World
    theirs: World
    address: str

    @property
    def remote(self) -> Place:
        return Place.open(self.address, make=True)

    def push(self, world: World | None = None, **words: object) -> Done:
        return push(Here((world or self.mine).store), self.remote, ignore, **words)  # type: ignore[arg-type]

    def pull(self, world: World | None = None, **words: object) -> Done:
        store = (world or self.theirs).store
        return pull(Here(store), self.remote, ignore, wait_silently, **words)  # type: ignore[arg-type]

    def other(self, name: str) -> World:
        """One more home without results."""
        folder = self.mine.folder.with_name(name)
        shutil.copytree(self.mine.folder, folder, ignore=shutil.ignore_patterns("results"))
        return World(folder)


@pytest.fixture
def homes(tmp_path: Path) -> Homes:
    mine = new_world(tmp_path / "mine")
    mine.cell()
    made = Homes(mine, mine, str(tmp_path / "remote"))
    return Homes(mine, made.other("theirs"), made.address)


def tree(world: World) -> dict[str, bytes]:
    """Every artifact's file and manifest, by its path."""
    paths = [path for path in sorted(world.root.rglob("*")) if path.is_file()]
    return {
        str(path.relative_to(world.root)): path.read_bytes()
        for path in paths
        if ".icd_assets" not in path.relative_to(world.root).parts
    }
