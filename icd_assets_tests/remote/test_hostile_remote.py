"""Whoever can write to a remote may put anything there: it is named and left alone, and the rest comes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from icd_assets.errors import UserError
from icd_assets.remote import layout
from icd_assets_tests.worlds.manifests import STEP_NAMES
from icd_assets_tests.worlds.two_homes import Homes, homes, tree

__all__ = ["homes"]
Edit = Callable[[dict[str, Any]], object]


def at(path: str) -> Edit:
    return lambda document: document["files"][0].update(path=path)


EDITS: dict[str, Edit] = {
    "out of the results": at("d0/cache/../../../x"),
    "absolute": at("/tmp/icd-assets-hostile"),
    "our own folder": at(".icd_assets/history/x.json"),
    "answers": at(".icd_assets/answers.sqlite"),
    "the root": at("leaderboard.json"),
    "another seed's": at("seeds/7/cache/x"),
    "nul": at("d0/cache/a\0b"),
    "digest": lambda document: document["files"][0].update(sha256="../../x"),
    "data version": lambda document: document.update(data_version="0123456789abcdef"),
    "no files": lambda document: document.pop("files"),
    "another kind": lambda document: document.update(facts=[]),
}
TEXTS = {
    "empty": b"",
    "no json": b"{",
    "deep": b"[" * 200_000,
    "utf-16": "{}".encode("utf-16"),
    "huge number": b'{"manifest_schema": 1' + b"0" * 5000 + b"}",
    "escapes": b'{"cell": "\\u001b[2J"}',
}


def replaced(homes: Homes, content: Callable[[bytes], bytes]) -> str:
    """The manifest of the RL data there, as another wrote it."""
    (path,) = Path(homes.address).glob("manifests/d0/generated_data/rl_data*/00000001.json")
    path.write_bytes(content(path.read_bytes()))
    return path.parent.name


@pytest.mark.parametrize("kind", [*EDITS, *TEXTS])
def test_a_hostile_manifest(homes: Homes, kind: str) -> None:
    homes.push()

    def changed(content: bytes) -> bytes:
        if kind in TEXTS:
            return TEXTS[kind]
        document = json.loads(content)
        EDITS[kind](document)
        return json.dumps(document).encode()

    name = replaced(homes, changed)
    done = homes.pull()
    assert len(done.moved) == len(STEP_NAMES) - 1
    (sentence,) = done.left_alone
    assert name.split(".")[0] in sentence and "left alone" in sentence and sentence.isprintable()
    expected = {path for path in tree(homes.mine) if "/rl_data_" not in path}
    assert set(tree(homes.theirs)) == expected
    assert not Path("/tmp/icd-assets-hostile").exists()


@pytest.mark.parametrize(
    "name",
    [
        "manifests/../../x.manifest.json/00000001.json",
        "manifests/.icd_assets/x/y.manifest.json/00000001.json",
        "manifests/d0/cache/x/00000001.json",
        "manifests/x.manifest.json/00000001.json",
        "manifests/d0/cache/x.manifest.json/1.json",
        "blobs/zz/x",
        "answers/x.parquet",
        "locks/push-x.json",
        "elsewhere/y",
    ],
)
def test_a_foreign_name_is_left_alone(homes: Homes, name: str) -> None:
    homes.push()
    path = Path(homes.address, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"{}")
    done = homes.pull()
    assert len(done.moved) == len(STEP_NAMES)
    assert all(sentence.isprintable() for sentence in done.left_alone)
    assert tree(homes.theirs) == tree(homes.mine)


def test_a_name_that_the_library_refuses_is_one_sentence(homes: Homes) -> None:
    homes.push()
    Path(homes.address, "manifests", "a\x1bb").write_bytes(b"")
    with pytest.raises(UserError, match="invalid path") as caught:
        homes.pull()
    assert str(caught.value).isprintable()


def test_a_damaged_file_there_is_never_taken(homes: Homes) -> None:
    homes.push()
    blob = next(Path(homes.address, "blobs").glob("*/*"))
    blob.write_bytes(bytes(len(blob.read_bytes())))
    with pytest.raises(UserError, match="is damaged there"):
        homes.pull()
    assert tree(homes.theirs) == {}
    blob.unlink()
    with pytest.raises(UserError, match="no longer has"):
        homes.pull()
    assert homes.push().bytes > 0, "what is lost there is sent again"
    homes.pull()
    assert tree(homes.theirs) == tree(homes.mine)


@pytest.mark.parametrize("content", [b"[]", b"{", b'{"form": 99}', b"x" * 5000])
def test_a_marker_of_another_program(homes: Homes, content: bytes) -> None:
    homes.push()
    Path(homes.address, layout.MARKER).write_bytes(content)
    for move in (homes.push, homes.pull):
        with pytest.raises(UserError, match="of another version of icd_assets, or of another program"):
            move()


@pytest.mark.parametrize("content", [b"[7]", b"{}", b"[" * 100_000])
def test_a_hostile_lineage_costs_only_lineage(homes: Homes, content: bytes) -> None:
    homes.push()
    for path in Path(homes.address, "lineage").iterdir():
        path.write_bytes(content)
    assert len(homes.pull().moved) == len(STEP_NAMES)
    assert tree(homes.theirs) == tree(homes.mine)
