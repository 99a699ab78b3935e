"""What the store names, it recognizes; what a user may have named, it does not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from icd_assets.experiment.catalog_names import LONGEST_PAIR
from icd_assets.runtime.user_path import LONGEST_NAME
from icd_assets.store import names

FILE = Path("results/d0/cache/a: b[1].json")
ABSENT = 4_194_305  # no process has a number so large


def test_what_is_named_is_recognized() -> None:
    manifest = names.manifest_beside(FILE)
    assert manifest.name == "a: b[1].json.manifest.json"
    assert names.manifest_in(FILE.parent, "rce_checkpoints").name == "rce_checkpoints.manifest.json"
    assert names.is_manifest(manifest) and not names.is_manifest(names.pending_of(manifest))
    assert names.is_half_commit(names.pending_of(manifest)) and names.is_half_commit(names.previous_of(manifest))
    assert names.set_aside(FILE, "0123abcd" + 56 * "0").name == "a: b[1].json.kept-0123abcd"
    assert names.is_set_aside(names.set_aside(FILE, 64 * "f"))
    temporary = names.temporary(FILE)
    assert names.becomes(temporary) == FILE.name and f".{os.getpid()}-" in temporary.name
    for path in (manifest, names.pending_of(manifest), names.set_aside(FILE, 64 * "f"), temporary):
        assert names.is_ours(path)
    assert not names.is_half_commit(manifest)


@pytest.mark.parametrize("name", [".digests.json.77.tmp", ".digests.json.77-139.tmp"])
def test_a_temporary_file_of_an_older_version(name: str) -> None:
    assert names.becomes(Path("results") / name) == "digests.json"


def test_the_longest_name_of_a_manifest_fits_while_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getpid", lambda: 1 << 22)  # the largest that Linux gives
    monkeypatch.setattr("threading.get_native_id", lambda: 1 << 22)
    longest = FILE.with_name((140 + LONGEST_PAIR) * "x")  # as catalog_names reckons
    assert len(names.temporary(names.pending_of(names.manifest_beside(longest))).name) <= LONGEST_NAME


HERE = names.temporary(FILE).name.removesuffix(".tmp").rpartition("-")[2]


@pytest.mark.parametrize(
    ("writer", "seconds", "dead"),
    [
        (f"{ABSENT}-5-{HERE}", 0.0, True),
        (f"{ABSENT}-5-{HERE}", -7200.0, True),  # the clock was set back since
        (f"OURS-5-{HERE}", 7200.0, False),
        (f"{ABSENT}-5-fffffff", 3500.0, False),  # of another host perhaps, and at work
        (f"{ABSENT}-5-fffffff", 3700.0, True),
        ("OURS-5-fffffff", 7200.0, False),
        (f"{ABSENT}-5", 3500.0, False),
        (f"{ABSENT}", 3700.0, True),
    ],
)
def test_whose_writer_is_dead(writer: str, seconds: float, dead: bool) -> None:
    path = Path(f"results/.a.json.{writer.replace('OURS', str(os.getpid()))}.tmp")  # no part of a test's name
    assert names.is_abandoned(path, seconds) is dead


def test_a_system_that_does_not_tell_its_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "process_table", lambda: "")
    assert names.becomes(names.temporary(FILE)) == FILE.name
    for writer in (f"{ABSENT}-5", f"{ABSENT}-5-{HERE}"):
        assert not names.is_abandoned(Path(f".a.json.{writer}.tmp"), 3500.0)
        assert names.is_abandoned(Path(f".a.json.{writer}.tmp"), 3700.0)


@pytest.mark.parametrize(
    "name",
    ["a.json", "a.tmp", ".mine.tmp", "a.pending", "a.json.previous", "a.kept-copy", "a.kept-0123ABCD"],
)
def test_a_users_own_name(name: str) -> None:
    assert not names.is_ours(Path(name))
    assert names.becomes(Path(name)) is None and not names.is_abandoned(Path(name), 7200.0)


def test_halves_of_commits_are_found_by_their_manifest(tmp_path: Path) -> None:
    manifest = names.manifest_beside(tmp_path / "d0/a.json")
    manifest.parent.mkdir()
    for path in (manifest, names.pending_of(manifest), names.previous_of(manifest), tmp_path / "b.json.pending"):
        path.touch()
    assert names.half_commits(tmp_path) == [manifest]
