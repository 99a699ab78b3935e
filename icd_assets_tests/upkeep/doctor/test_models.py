"""Models that are there, to be had, of a wrong kind, incomplete; nothing is downloaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from icd_assets.experiment.catalog import PACKAGE, Catalog
from icd_assets.experiment.catalog_entries import EncoderEntry, ModelEntry
from icd_assets.runtime.finding import Finding
from icd_assets.store.digests import DigestCache
from icd_assets.upkeep.doctor import models
from icd_assets_tests.worlds.fake_server import FakeServer, as_json

TINY = PACKAGE / "demo/weights/tiny_vl"


@pytest.fixture
def digests(tmp_path: Path) -> DigestCache:
    return DigestCache(tmp_path / "digests.json")


def entry(path: Path | str | None, **fields: Any) -> ModelEntry:
    place = {} if path is None else {"path": str(path), "dtype": "float32"}
    prompt = Catalog.load().models["tiny_vl"].prompt
    return ModelEntry.model_validate({"name": "tiny_vl", "aliases": [], "prompt": prompt, **place, **fields})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TINY, tmp_path / "model"))


def last(found: list[Finding]) -> Finding:
    return found[-1]


def test_a_good_model(digests: DigestCache) -> None:
    found = models.vlm(entry(TINY), digests)
    assert [finding.level for finding in found] == ["ok"] * 3
    assert "qwen2_5_vl is supported" in last(found).found


def edited(folder: Path, name: str, **changes: Any) -> None:
    content = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps(content | changes))


def test_what_is_wrong_with_a_model_is_one_problem(folder: Path, digests: DigestCache) -> None:
    def problem(**changes: Any) -> str:
        found = models.vlm(entry(folder, **changes), digests)
        assert last(found).level == "problem"
        return last(found).found

    (folder / "chat_template.jinja").rename(folder / "gone")
    assert "no chat template" in problem()
    (folder / "gone").rename(folder / "chat_template.jinja")
    assert "max_pixels" in problem(min_pixels=10, max_pixels=5)
    (folder / "model.safetensors").unlink()
    assert "holds no weights" in problem()
    edited(folder, "config.json", model_type="bert")
    (folder / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    assert "'bert' is no image-and-text model" in problem()
    (folder / "config.json").write_text("{")
    assert "is no transformers model" in problem()
    shutil.rmtree(folder)
    assert "does not exist" in problem()


def test_an_encoder(digests: DigestCache, folder: Path) -> None:
    good = EncoderEntry(name="tiny_clip", path=str(PACKAGE / "demo/weights/tiny_clip"))
    found, clip = models.clip(good, digests)
    assert [finding.level for finding in found] == ["ok", "ok"]
    assert clip is not None
    assert (clip.width, clip.size > 1_000_000) == (64, True)
    found, clip = models.clip(EncoderEntry(name="x", path=str(folder)), digests)
    assert "encoders must be CLIP models" in last(found).found
    assert clip is None


def test_a_model_of_the_hub_that_cannot_be_reached(digests: DigestCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    found = models.vlm(entry("someone/a-model-that-is-not-there"), digests)
    assert last(found).level == "problem"
    assert "neither a local folder nor in the hub's cache" in last(found).found


def test_a_model_that_the_hub_has_is_a_warning_with_its_size(
    digests: DigestCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    def listing(path: str, **options: Any) -> list[Any]:
        from huggingface_hub.errors import LocalEntryNotFoundError

        asked.append(options)
        if options.get("local_files_only"):
            raise LocalEntryNotFoundError("not here")
        assert options["dry_run"]
        return [SimpleNamespace(file_size=size, will_download=True) for size in (7 << 30, 1 << 20, None)]

    monkeypatch.setattr("huggingface_hub.snapshot_download", listing)
    found = models.vlm(entry("someone/a-model"), digests)
    assert last(found).level == "warning"
    assert "downloads 7.0 GiB first" in last(found).found
    assert all(options.get("local_files_only") or options.get("dry_run") for options in asked)


def test_a_served_model(digests: DigestCache, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with FakeServer(models=as_json({"data": [{"id": "m"}]}, 200)) as server:
        there = server.endpoint()
        found = models.vlm(entry(None, endpoint=there), digests)
        assert last(found).level == "ok"
        assert f"served at {there.url}" in last(found).found
        other = there.model_copy(update={"model": "another"})
        assert last(models.vlm(entry(None, endpoint=other), digests)).level == "warning"
    found = models.vlm(entry(None, endpoint=there), digests)
    assert last(found).level == "problem"
    assert "cannot be reached" in last(found).found


def test_a_model_that_cannot_be_asked(digests: DigestCache) -> None:
    found = models.vlm(entry(TINY, unsupported="its package is too old"), digests)
    assert last(found).level == "warning"
    assert "its package is too old" in last(found).found
