"""The record beside an artifact, as a store reads it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from icd_assets.lineage.in_toto import times
from icd_assets.store.manifest import FileRecord, Input, Manifest, Spec
from icd_assets.store.ownership import own_files
from icd_assets.store.store import Store

SUFFIX = ".manifest.json"


def seeds() -> Iterable[bytes]:
    for origin, place in (("made", "d0/cache/a.json"), ("imported", "/data/mine.json")):
        manifest = Manifest(
            spec=Spec(
                asset="rl_data",
                code_version="1",
                config={"seed": 1, "vlm": {"dtype": "bfloat16"}},
                inputs={
                    "vlm": Input(data_version="0f"),
                    "a": Input(data_version="1", manifest="d0/b.manifest.json"),
                },
            ),
            config_digest="0f",
            data_version="ab12",
            files=[FileRecord(path=place, size=12, sha256="0" * 64)],
            facts={"rows": 3},
            origin=origin,
            cell="d0|RandSampler/m0",
            run_id=None,
            created_at="2026-01-02T03:04:05+00:00",
            seconds=1.5,
            environment={"python": "3.11"},
        )
        yield manifest.model_dump_json().encode()


def read(path: Path) -> Any:
    store = Store(path.parent / "results")
    found = store.read(path)
    if found is None:
        return None
    assert store.damage(found) is not None or not found.files
    for record in own_files(found):
        assert store.resolve(record).resolve().is_relative_to(store.root.resolve())
        store.remove_own(record)
    times(found)
    datetime.now(UTC) - datetime.fromisoformat(found.created_at)
    return found.build, found.spec.digest, found.tracker_links
