"""Files of steps: ours, Lever-Plus', and those on a remote."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from icd_assets.errors import UserError
from icd_assets.lever_plus.names import Name
from icd_assets.lever_plus.verify import _concatenated
from icd_assets.lineage.embedded import read_embedded
from icd_assets.pools.features import _mapped, read_features, write_features
from icd_assets.pools.files import read_anchors, read_pools
from icd_assets.pools.rl_query_file import read_rl_queries
from icd_assets.pools.similarity import SamplerFeatures
from icd_assets.remote import layout
from icd_assets.remote.blobs import fetch, send
from icd_assets.remote.place import Place
from icd_assets.remote.push import _publish
from icd_assets.remote.shared_answers import _parquet, _rows
from icd_assets.remote.shelf import Shelf
from icd_assets.remote.turns import pushing
from icd_assets.store.digests import DigestCache
from icd_assets.store.manifest import parse_manifest
from icd_assets_tests.fuzz.targets import manifest as manifest_target
from icd_assets_tests.readers import Reader, as_a_command


def _pools(path: Path) -> object:
    return read_pools(path, n_rows=9, size=2)


def _anchors(path: Path) -> object:
    return read_anchors(path, n_rows=9, count=3)


def _queries(path: Path) -> object:
    return read_rl_queries(path, n_rows=9, size=2)


def _shard(path: Path) -> None:
    name = cast(Name, SimpleNamespace(shard=(0, 2)))
    _concatenated({path: name}, 2, path.with_name("whole.json"))


def _write_features(path: Path) -> None:
    import numpy as np

    base = path.with_name("d0")
    matrix = np.eye(3, 4, dtype=np.float32)
    write_features(base, SamplerFeatures(text=matrix, image=matrix), DigestCache(path.with_name("digests")))


def _features(path: Path) -> None:
    read_features(path.with_name("d0"), 3, DigestCache(path.with_name("digests")))


def _matrix(path: Path) -> object:
    return float(_mapped(path, 3).sum())


# -- a remote: whoever can write to it may have put anything there ----------------------------------------------


def _remote(path: Path) -> Place:
    """The one of which the file is a part."""
    return Place.open(str(next(one for one in path.parents if one.name == "there")))


def _marker(path: Path) -> None:
    Shelf(_remote(path)).require_ours()


def _held(path: Path) -> None:
    shelf = Shelf(_remote(path))
    for sentence in [*shelf.held, *shelf.sentences()]:
        assert sentence.isprintable()


def _behind(path: Path) -> None:
    shelf = Shelf(_remote(path))
    manifest = parse_manifest(_manifest().decode())
    assert isinstance(shelf.behind(manifest), list)


def _turn(path: Path) -> None:
    remote = _remote(path)
    with pushing(remote):
        pass


def _answers(path: Path) -> None:
    for _ in _rows(path):
        pass


def _manifest() -> bytes:
    return next(iter(manifest_target.seeds()))


def _held_manifest(path: Path) -> None:
    path.write_bytes(_manifest())


_PLACE = "d0/generated_data/rl_data.json.manifest.json"
_BEHIND = layout.behind(parse_manifest(_manifest().decode()))


def _sent(path: Path) -> None:
    place = Place.open(str(path.parent / "there"), make=True)
    send(place, path, hashlib.sha256(b"content").hexdigest(), 7, lambda size: None)


def _fetched(path: Path) -> None:
    """A part that an earlier try has left."""
    place = Place.open(str(path.parent / "there"), make=True)
    sha256 = hashlib.sha256(b"content").hexdigest()
    place.put(layout.blob(sha256), iter([b"content"]))
    whole = fetch(place, layout.blob(sha256), sha256, 7, path.parent, lambda size: None)
    assert whole.read_bytes() == b"content"
    whole.unlink()


def _published(path: Path) -> None:
    place = Place.open(str(path.parent / "there"), make=True)
    here: Any = SimpleNamespace(behind=lambda artifact: [])
    artifact: Any = SimpleNamespace(place=_PLACE, path=path, manifest=None)
    _publish(here, Shelf(place), artifact)


def _answers_file(path: Path) -> None:
    path.write_bytes(_parquet([(b"k" * 32, "text", None, None), (b"l" * 32, None, -0.5, 3)]))


_SHA = hashlib.sha256(b"content").hexdigest()
READERS: dict[str, Reader] = {
    "pools": Reader(_pools, "pools.json", b'{"0": [1, 2], "3": [4, 5]}'),
    "anchors": Reader(_anchors, "anchors.json", b"[0, 3, 5]"),
    "RL's queries": Reader(_queries, "queries.json", b'{"train": {"0": [1, 2]}, "validation": {"3": [4, 5]}}'),
    "a rank's shard": Reader(_shard, "shard.json", b'{"0": {"id_list": [[1, 0]]}, "1": {"id_list": [[2, 1]]}}'),
    "features' sums": Reader(_features, "d0.json", _write_features, cache=True),
    "features": Reader(_matrix, "d0-text.npy", _write_features, (OSError, ValueError)),
    "lineage in RL data": Reader(
        read_embedded,
        "rl_data.json",
        json.dumps(
            {
                "1": {},
                "_meta": {
                    "lineage": {"asset": "rl_data", "code_version": "1", "config_digest": "0", "inputs": {}}
                },
            }
        ).encode(),
    ),
    "remote's mark": Reader(_marker, f"there/{layout.MARKER}", json.dumps({"form": layout.FORM}).encode()),
    "remote's manifest": Reader(_held, f"there/{layout.version(_PLACE, 1)}", _held_manifest),
    "remote's lineage": Reader(_behind, f"there/{_BEHIND}", b"[" + _manifest() + b"]"),
    "remote's lock": Reader(
        _turn, "there/locks/prune-0.json", b'{"host": "h", "pid": 1, "since": "s"}', taken=False
    ),
    "remote's answers": Reader(_answers, "answers.parquet", _answers_file, (UserError, FileNotFoundError)),
    "file that is sent": Reader(as_a_command(_sent), "file", b"content"),
    "manifest that is sent": Reader(as_a_command(_published), "a.manifest.json", _held_manifest),
    "part that came": Reader(as_a_command(_fetched), f"{_SHA}.part", b"con"),
}
