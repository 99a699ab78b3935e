"""What one home made another has, to the byte, and goes on from; what was made apart is nobody's to overwrite."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from icd_assets.errors import UserError
from icd_assets.lineage.chain import Chains
from icd_assets.lineage.records import Records
from icd_assets.remote import layout
from icd_assets.remote.compare import compare
from icd_assets.remote.here import Here
from icd_assets.remote.place import Place
from icd_assets.remote.shelf import Shelf
from icd_assets.runtime.progress import ignore
from icd_assets.store.store import Store
from icd_assets.upkeep.verify import verify
from icd_assets_tests.worlds.manifests import KEY, STEP_NAMES, World
from icd_assets_tests.worlds.two_homes import Homes, homes, tree

__all__ = ["homes"]


def stale(world: World) -> list[str]:
    """The steps that would be made again."""
    from icd_assets.experiment.spec import spec_of

    experiment = world.experiment(GRPO_EPOCHS="3")
    return [
        name
        for name in STEP_NAMES
        if experiment.store.stale(experiment.manifest_path(name), spec_of(experiment, name)) is not None
    ]


def test_an_empty_home_has_all_of_it_to_the_byte(homes: Homes) -> None:
    pushed = homes.push()
    pulled = homes.pull()
    assert sorted(pulled.moved) == sorted(pushed.moved) and len(pulled.moved) == len(STEP_NAMES)
    assert tree(homes.theirs) == tree(homes.mine)
    found = verify(Store(homes.theirs.root, rehash=True), (), ignore)
    assert (found.rotted, found.unfinished, found.orphaned, found.foreign) == ([], [], [], [])
    assert found.files == len([name for name in tree(homes.mine) if not name.endswith("manifest.json")])
    assert not homes.theirs.store.pulled.exists()


def test_a_second_time_nothing_is_moved(homes: Homes) -> None:
    homes.push()
    homes.pull()
    again = homes.push(), homes.pull()
    assert [(done.moved, done.bytes, done.left_alone) for done in again] == [([], 0, [])] * 2
    assert again[0].up_to_date == again[1].up_to_date == len(STEP_NAMES)


def test_equal_files_are_there_once(homes: Homes) -> None:
    homes.mine.cell("d0|MixSampler/m0")
    homes.push()
    shelf = Shelf(homes.remote)
    every = [record.sha256 for one in shelf.held.values() for record in one.manifest.files]
    assert len(shelf.blobs) == len(set(every)) < len(every)


def test_one_artifact_comes_with_its_lineage_and_without_its_inputs(homes: Homes) -> None:
    homes.push()
    done = homes.pull(only=("grpo_checkpoints",))
    assert len(done.moved) == 1
    records = Records(homes.theirs.store)
    (manifest,) = records.live.values()
    chain = Chains(records).of(manifest)
    rl_data = chain.behind("rl_data")
    assert rl_data is not None and rl_data.state == "removed"
    assert rl_data.manifest == homes.mine.experiment().manifest("rl_data")
    beams = chain.behind("beam_data")
    assert beams is not None and beams.manifest is not None


def test_cells_are_chosen(homes: Homes) -> None:
    homes.mine.cell("d0|MixSampler/m0")
    homes.push(cells={KEY})
    assert {one.manifest.cell for one in Shelf(homes.remote).held.values()} == {KEY}
    assert len(homes.pull(cells={"d0|MixSampler/m0"}).moved) == 0


def test_nothing_is_moved_by_a_dry_run(homes: Homes) -> None:
    assert len(homes.push(dry_run=True).moved) == len(STEP_NAMES)
    assert homes.remote.is_empty()
    homes.push()
    assert len(homes.pull(dry_run=True).moved) == len(STEP_NAMES)
    assert tree(homes.theirs) == {}


def remake(world: World, note: str, run_id: str) -> None:
    world.make(world.experiment(), "rl_data", run_id, made="30:00", note=note)


def test_a_newer_one_follows_the_older_one(homes: Homes) -> None:
    homes.push()
    homes.pull()
    remake(homes.mine, "better", "run-2")
    states = {one.asset: one.state for one in compare(Here(homes.mine.store), homes.remote)[0]}
    assert states.pop("rl_data") == "newer here" and set(states.values()) == {"same"}
    assert len(homes.push().moved) == 1
    states = {one.asset: one.state for one in compare(Here(homes.theirs.store), homes.remote)[0]}
    assert states["rl_data"] == "newer there"
    assert len(homes.pull().moved) == 1
    assert tree(homes.theirs) == tree(homes.mine)


def test_what_was_made_apart_is_left_alone_until_one_says_which(homes: Homes) -> None:
    remake(homes.mine, "mine", "run-2")
    homes.push()
    other = homes.other("other")
    other.cell()
    remake(other, "apart", "run-3")
    mine = tree(other)
    for done in (homes.push(other), homes.pull(other)):
        assert done.moved == [] and len(done.left_alone) == 1
        assert "rl_data" in done.left_alone[0] and "--replace" in done.left_alone[0]
    assert tree(other) == mine
    (state,) = {one.state for one in compare(Here(other.store), homes.remote)[0]} - {"same"}
    assert state == "apart"
    assert len(homes.pull(other, replace=True).moved) == 1
    assert tree(other) == tree(homes.mine)


def test_the_same_made_twice_is_the_same(homes: Homes) -> None:
    """Equal bytes of equal things: whose run it was is no reason to move or to refuse."""
    homes.push()
    other = homes.other("other")
    other.cell(run_id="run-9")
    assert homes.push(other).up_to_date == len(STEP_NAMES)
    assert homes.pull(other).moved == []


def test_a_damaged_file_is_fetched_again_and_a_changed_one_kept(homes: Homes) -> None:
    homes.push()
    homes.pull()
    path = homes.theirs.store.resolve(homes.theirs.experiment().manifest("rl_data").files[0])  # type: ignore[union-attr]
    path.write_text("mine")
    assert len(homes.pull().moved) == 1
    assert path.read_bytes() == tree(homes.mine)[str(path.relative_to(homes.theirs.root))]
    assert [kept.read_text() for kept in path.parent.glob(f"{path.name}.kept-*")] == ["mine"]


def test_a_file_of_the_users_is_never_touched(homes: Homes) -> None:
    homes.push()
    first = homes.mine.experiment().manifest("rl_data").files[0]  # type: ignore[union-attr]
    path = homes.theirs.root / first.path
    path.parent.mkdir(parents=True)
    path.write_text("of Lever-Plus")
    done = homes.pull()
    assert len(done.moved) == len(STEP_NAMES) - 1
    assert "a file of yours lies at" in done.left_alone[0]
    assert path.read_text() == "of Lever-Plus"


def test_damage_is_not_pushed(homes: Homes) -> None:
    first = homes.mine.experiment().manifest("rl_data").files[0]  # type: ignore[union-attr]
    (homes.mine.root / first.path).write_text("rotten")
    done = homes.push()
    assert len(done.moved) == len(STEP_NAMES) - 1 and "no longer what rl_data wrote" in done.left_alone[0]


def test_pruned_epochs_stay_pruned(homes: Homes) -> None:
    from icd_assets.upkeep.prune import prune, removals

    found, _ = removals(homes.mine.store, "last")
    assert found
    prune(homes.mine.store, found)
    homes.push()
    homes.pull()
    assert tree(homes.theirs) == tree(homes.mine)
    assert stale(homes.theirs) == stale(homes.mine)
    assert homes.pull().moved == []


class Ended(BaseException):
    """The process is no more."""


@pytest.mark.parametrize("way", ["push", "pull"])
def test_wherever_it_is_ended_it_goes_on(homes: Homes, way: str) -> None:
    """At every request: no manifest is seen without its files, and the next try ends as one that never was."""
    if way == "pull":
        homes.push()
    names = ("create", "put") if way == "push" else ("read", "part")
    for ends in itertools.count(1):
        calls = itertools.count(1)  # of all threads

        def ending(name: str, at: int = ends, calls: Iterator[int] = calls) -> object:
            real = getattr(Place, name)

            def called(self: Place, *arguments: object) -> object:
                if next(calls) == at:
                    raise Ended
                return real(self, *arguments)

            return called

        if way == "push":
            shutil.rmtree(homes.address, ignore_errors=True)
        else:
            shutil.rmtree(homes.theirs.root, ignore_errors=True)
        target = Homes(homes.mine, World(homes.theirs.folder), homes.address)
        try:
            with patch.object(Place, names[0], ending(names[0])), patch.object(Place, names[1], ending(names[1])):
                getattr(target, way)()
            break
        except Ended:
            pass
        if way == "push":
            whole(target.remote)
        getattr(target, way)()
        if way == "push":
            whole(target.remote)
            assert len(Shelf(target.remote).held) == len(STEP_NAMES)
        else:
            assert tree(target.theirs) == tree(homes.mine)
    assert ends > (30 if way == "push" else 20), ends


def whole(remote: Place) -> None:
    """Every manifest there has its files."""
    if remote.is_empty():
        return
    shelf = Shelf(remote)
    for one in shelf.held.values():
        assert {record.sha256 for record in one.manifest.files} <= set(shelf.blobs)
    assert shelf.broken == {}


def test_of_two_who_push_the_same_place_one_is_told(homes: Homes) -> None:
    homes.push()
    other = homes.other("other")
    homes.pull(other)
    remake(homes.mine, "mine", "run-2")
    remake(other, "other", "run-3")
    real = Place.create

    def create(self: Place, name: str, content: bytes) -> bool:
        nonlocal came
        if name.startswith(layout.MANIFESTS) and not came:
            came = True
            homes.push(other)  # just before
        return real(self, name, content)

    came = False
    with patch.object(Place, "create", create):
        done = homes.push()
    assert done.moved == [] and "another push was quicker" in done.left_alone[0]
    (held,) = [one for one in Shelf(homes.remote).held.values() if one.manifest.spec.asset == "rl_data"]
    assert held.manifest.run_id == "run-3"
    whole(homes.remote)


def test_two_who_begin_at_once_share_the_place(homes: Homes) -> None:
    """The other's mark, and all that follows it, comes between a look at the mark and one at the rest."""
    real = Place.is_empty

    def is_empty(self: Place) -> bool:
        with patch.object(Place, "is_empty", real):
            homes.push()
        return real(self)

    with patch.object(Place, "is_empty", is_empty):
        assert homes.push(homes.other("other")).left_alone == []
    whole(homes.remote)


def test_other_seeds_come_too(homes: Homes) -> None:
    from icd_assets.experiment.seeds import of_seeds

    experiment = homes.mine.experiment()
    of_seed = of_seeds(experiment, (7,))[7]
    for asset in STEP_NAMES:
        homes.mine.make(of_seed, asset)
    assert len(homes.push().moved) == 2 * len(STEP_NAMES)
    homes.pull()
    assert tree(homes.theirs) == tree(homes.mine)
    assert any(name.startswith("seeds/7/") for name in tree(homes.theirs))


def test_something_else_is_not_written_into(homes: Homes) -> None:
    place = Path(homes.address)
    place.mkdir()
    (place / "thesis.txt").write_text("keep")
    with pytest.raises(UserError, match="holds something else already"):
        homes.push()
    with pytest.raises(UserError, match="holds no results of icd_assets"):
        homes.pull()
    assert [path.name for path in place.iterdir()] == ["thesis.txt"]
