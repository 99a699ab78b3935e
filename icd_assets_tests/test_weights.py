"""Finding a model's folder, and the digest that makes an answer this model's answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from icd_assets.digests import DigestCache
from icd_assets.errors import UserError
from icd_assets.weights import locate, weights_digest


def model(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in ({"config.json": "{}", "model.safetensors": "w"} | files).items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_the_digest_changes_with_what_changes_answers(tmp_path: Path) -> None:
    digests = DigestCache(tmp_path / "digests.json")
    first = weights_digest(model(tmp_path / "a"), digests)
    assert weights_digest(model(tmp_path / "b", **{"README.md": "a card"}), digests) == first
    for name in ("config.json", "model.safetensors", "chat_template.jinja", "tokenizer.json"):
        assert weights_digest(model(tmp_path / name, **{name: "other"}), digests) != first


def test_a_folder_without_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="holds no weights"):
        weights_digest(tmp_path, DigestCache(tmp_path / "digests.json"))


@pytest.mark.parametrize("path", ["/nowhere/model", "./nowhere", "~/nowhere-at-all"])
def test_a_missing_local_folder(path: str) -> None:
    with pytest.raises(UserError, match="does not exist; mend the path in the catalog"):
        locate(path)


@pytest.mark.parametrize("path", ["Qwen/Not-Downloaded", "../../etc/passwd", "a b/c d", "x/y/z"])
def test_a_hub_id_that_is_not_here(path: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=r"neither a local folder nor in the hub's cache|does not exist"):
        locate(path)


def test_a_cached_snapshot_is_used_without_asking_the_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    repository = tmp_path / "models--org--name"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("c0ffee")
    snapshot = model(repository / "snapshots" / "c0ffee")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert locate("org/name") == snapshot
