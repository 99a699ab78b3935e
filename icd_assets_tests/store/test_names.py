"""What the store names, it recognizes; what a user may have named, it does not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from icd_assets.store import names

FILE = Path("results/d0/cache/a: b[1].json")


def test_what_is_named_is_recognized() -> None:
    manifest = names.manifest_beside(FILE)
    assert manifest.name == "a: b[1].json.manifest.json"
    assert names.manifest_in(FILE.parent, "rce_checkpoints").name == "rce_checkpoints.manifest.json"
    assert names.is_manifest(manifest) and not names.is_manifest(names.pending_of(manifest))
    assert names.is_half_commit(names.pending_of(manifest)) and names.is_half_commit(names.previous_of(manifest))
    assert names.set_aside(FILE, "0123abcd" + 56 * "0").name == "a: b[1].json.kept-0123abcd"
    assert names.is_set_aside(names.set_aside(FILE, 64 * "f"))
    temporary = names.temporary(FILE)
    assert names.becomes(temporary) == FILE.name and names.writer_pid(temporary) == os.getpid()
    for path in (manifest, names.pending_of(manifest), names.set_aside(FILE, 64 * "f"), temporary):
        assert names.is_ours(path)
    assert not names.is_half_commit(manifest)


def test_a_temporary_file_of_an_older_version() -> None:
    assert names.becomes(Path("results/.digests.json.77.tmp")) == "digests.json"
    assert names.writer_pid(Path("results/.digests.json.77.tmp")) == 77


@pytest.mark.parametrize(
    "name",
    ["a.json", "a.tmp", ".mine.tmp", "a.pending", "a.json.previous", "a.kept-copy", "a.kept-0123ABCD"],
)
def test_a_users_own_name(name: str) -> None:
    assert not names.is_ours(Path(name))
    assert names.becomes(Path(name)) is None and names.writer_pid(Path(name)) is None


def test_halves_of_commits_are_found_by_their_manifest(tmp_path: Path) -> None:
    manifest = names.manifest_beside(tmp_path / "d0/a.json")
    manifest.parent.mkdir()
    for path in (manifest, names.pending_of(manifest), names.previous_of(manifest), tmp_path / "b.json.pending"):
        path.touch()
    assert names.half_commits(tmp_path) == [manifest]
