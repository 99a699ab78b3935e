"""Models that are there, to be had, of a wrong kind, incomplete; nothing is downloaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from icd_assets.experiment.catalog import Catalog
from icd_assets.experiment.catalog_entries import EncoderEntry, ModelEntry
from icd_assets.experiment.catalog_variables import PACKAGE
from icd_assets.experiment.checks import models
from icd_assets.runtime.finding import Finding, findings
from icd_assets.vlm.backends.in_process import InProcess
from icd_assets_tests.experiment.checks.conftest import Opened, looked
from icd_assets_tests.worlds.fake_server import FakeServer, as_json

TINY = PACKAGE / "demo/weights/tiny_vl"


Checked = Callable[[ModelEntry], list[Finding]]


@pytest.fixture
def checked(opened: Opened) -> Checked:
    """What is found of a model in the place of the demo's."""

    def check(model: ModelEntry) -> list[Finding]:
        experiment = opened()
        catalog = experiment.catalog.model_copy(update={"models": {"tiny_vl": model}})
        look = looked(replace(experiment, catalog=catalog), thorough=True)
        return findings("model", lambda: models.vlm(look))

    return check


def entry(path: Path | str | None, **fields: Any) -> ModelEntry:
    place = {} if path is None else {"path": str(path), "dtype": "float32"}
    prompt = Catalog.load().models["tiny_vl"].prompt
    return ModelEntry.model_validate({"name": "tiny_vl", "aliases": [], "prompt": prompt, **place, **fields})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TINY, tmp_path / "model"))


def last(found: list[Finding]) -> Finding:
    return found[-1]


def test_a_good_model(checked: Checked) -> None:
    found = checked(entry(TINY))
    assert [finding.level for finding in found] == ["ok"] * 3
    assert "qwen2_5_vl is supported" in last(found).found


def edited(folder: Path, name: str, **changes: Any) -> None:
    content = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps(content | changes))


def test_what_is_wrong_with_a_model_is_one_problem(folder: Path, checked: Checked) -> None:
    def problem(**changes: Any) -> str:
        found = checked(entry(folder, **changes))
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
    assert "config.json is no whole JSON file" in problem()
    shutil.rmtree(folder)
    assert "does not exist" in problem()


def test_an_encoder(opened: Opened, folder: Path) -> None:
    good = EncoderEntry(name="tiny_clip", path=str(PACKAGE / "demo/weights/tiny_clip"))
    look = looked(opened(), thorough=True)
    assert [finding.level for finding in models.encoder(look, good)] == ["ok", "ok"]
    clip = models.clip(good)
    assert clip is not None
    assert (clip.width, clip.size > 1_000_000) == (64, True)
    bad = EncoderEntry(name="x", path=str(folder))
    found = findings("encoder", lambda: models.encoder(look, bad))
    assert "encoders must be CLIP models" in last(found).found


def test_a_broken_tokenizer_of_an_encoder(opened: Opened, tmp_path: Path) -> None:
    clip = shutil.copytree(PACKAGE / "demo/weights/tiny_clip", tmp_path / "clip")
    (clip / "tokenizer.json").write_text("{}")
    look, bad = looked(opened(), thorough=True), EncoderEntry(name="x", path=str(clip))
    found = findings("encoder", lambda: models.encoder(look, bad))
    assert "its tokenizer or image processor cannot be loaded" in last(found).found


def test_what_was_found_of_a_model_is_not_looked_for_again(
    written: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = replace(written(), read_only=False)
    first = list(models.vlm(looked(experiment)))
    monkeypatch.setattr(InProcess, "_works", None)  # would fail
    assert list(models.vlm(looked(experiment))) == first
    assert not list(models.vlm(looked(experiment, "rce_checkpoints")))  # which asks no model


def test_a_model_of_the_hub_that_cannot_be_reached(checked: Checked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    found = checked(entry("someone/a-model-that-is-not-there"))
    assert last(found).level == "problem"
    assert "neither a local folder nor in the hub's cache" in last(found).found


def test_a_model_that_the_hub_has_is_a_warning_with_its_size(
    checked: Checked, monkeypatch: pytest.MonkeyPatch
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
    found = checked(entry("someone/a-model"))
    assert last(found).level == "warning"
    assert "downloads 7.0 GiB first" in last(found).found
    assert all(options.get("local_files_only") or options.get("dry_run") for options in asked)


def test_a_served_model(checked: Checked, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with FakeServer(models=as_json({"data": [{"id": "m"}]}, 200)) as server:
        there = server.endpoint()
        found = checked(entry(None, endpoint=there))
        assert last(found).level == "ok"
        assert f"served at {there.url}" in last(found).found
        other = there.model_copy(update={"model": "another"})
        assert last(checked(entry(None, endpoint=other))).level == "warning"
    with FakeServer(
        models=as_json({"error": {"message": "oops"}}, 500)
    ) as server:  # as `transformers serve` offline
        for kind, level in (("transformers", "warning"), ("openai", "problem")):
            serving = server.endpoint(server=kind, revision=None, retries=0)
            assert last(checked(entry(None, endpoint=serving))).level == level
    for pin, level in ((None, "problem"), ("abc", "warning")):  # with a pin, kept answers need no server
        gone = there.model_copy(update={"revision": pin, "weights_digest": None})
        found = checked(entry(None, endpoint=gone))
        assert last(found).level == level
        assert "cannot be reached" in last(found).found


def test_a_model_that_cannot_be_asked(checked: Checked) -> None:
    found = checked(entry(TINY, unsupported="its package is too old"))
    assert last(found).level == "warning"
    assert "its package is too old" in last(found).found


def test_weights_of_another_size_than_the_configuration(folder: Path, checked: Checked) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["intermediate_size"] *= 2
    (folder / "config.json").write_text(json.dumps(config))
    finding = last(checked(entry(folder)))
    assert finding.level == "problem"
    assert "numbers that config.json asks for" in finding.found


def test_a_tokenizer_that_is_not_there_or_is_another_thing(folder: Path, checked: Checked) -> None:
    (folder / "tokenizer.json").write_text("{}")
    assert "its tokenizer or image processor cannot be loaded" in last(checked(entry(folder))).found
    (folder / "tokenizer.json").unlink()
    assert "holds no tokenizer" in last(checked(entry(folder))).found
