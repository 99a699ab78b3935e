"""Finding a model's folder, and the digest that makes an answer this model's answer."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest

from icd_assets.errors import UserError
from icd_assets.store.digests import DigestCache
from icd_assets.vlm.weights import locate, weights_digest
from icd_assets_tests.programs import program


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
    with pytest.raises(UserError, match="does not exist; fix the path in the catalog"):
        locate(path)


@pytest.mark.parametrize("path", ["Qwen/Not-Downloaded", "../../etc/passwd", "a b/c d", "x/y/z"])
def test_a_hub_id_that_is_not_here(path: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=r"neither a local folder nor whole in the hub's cache|does not exist"):
        locate(path)


OLD, NEW = "0" * 39 + "1", "0" * 39 + "2"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache as huggingface_hub lays it out: org/name at two commits, ``main`` and the tag ``v1``."""
    repository = tmp_path / "hub" / "models--org--name"
    for commit, weights in ((OLD, "old weights"), (NEW, "new weights")):
        files = model(repository / "snapshots" / commit, **{"model.safetensors": weights})
        for file in files.iterdir():
            blob = repository / "blobs" / hashlib.sha256(file.read_bytes()).hexdigest()
            blob.parent.mkdir(exist_ok=True)
            file.replace(blob)
            file.symlink_to(os.path.relpath(blob, file.parent))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(NEW)
    (repository / "refs" / "v1").write_text(OLD)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return repository


@pytest.mark.parametrize(("revision", "commit"), [(None, NEW), ("main", NEW), ("v1", OLD), (OLD, OLD), (NEW, NEW)])
def test_a_pinned_revision_is_the_one_that_is_used(hub: Path, revision: str | None, commit: str) -> None:
    assert locate("org/name", revision) == hub / "snapshots" / commit


def test_another_revision_is_another_digest(hub: Path, tmp_path: Path) -> None:
    digests = DigestCache(tmp_path / "digests.json")
    old, new = (weights_digest(locate("org/name", revision), digests) for revision in ("v1", "main"))
    assert old != new
    local = model(tmp_path / "local", **{"model.safetensors": "old weights"})
    assert weights_digest(local, digests) == old  # where it lies does not count


def test_a_wrong_revision_is_one_sentence(hub: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"not whole at revision 'v2' \(there: main, v1, {OLD}, {NEW}\).*fix"):
        locate("org/name", "v2")
    with pytest.raises(UserError, match="is a local one and has no revision 'v1'; unset it"):
        locate(str(tmp_path), "v1")


def test_the_environment_says_where_the_hub_lies(hub: Path) -> None:
    environment = {**os.environ, "HF_HOME": str(hub.parents[1]), "HF_HUB_OFFLINE": "1"}
    environment.pop("HF_HUB_CACHE", None)
    ended = subprocess.run(
        program("locate_weights", "v1"), capture_output=True, text=True, env=environment, timeout=60
    )
    assert ended.stdout.strip() == str(hub / "snapshots" / OLD), ended.stderr


def listed(hub: Path, *names: str) -> None:
    """The hub's list of files at NEW, as a download leaves it in the cache."""
    files = {name: {"size": 1, "blob_id": "0" * 40} for name in names}
    (hub / "trees").mkdir()
    (hub / "trees" / f"{NEW}.json").write_text(json.dumps({"format_version": 1, "files": files}))


def test_a_download_of_what_matters_is_whole(hub: Path) -> None:
    listed(hub, "README.md", "config.json", "model.safetensors", "picture.png")
    assert locate("org/name") == hub / "snapshots" / NEW


def test_an_interrupted_download_is_not_used(hub: Path) -> None:
    listed(hub, "config.json", "model.safetensors", "model-00002-of-00002.safetensors")
    with pytest.raises(UserError, match="nor whole in the hub's cache"):
        locate("org/name")


def test_pickled_weights_alone_are_found(hub: Path) -> None:
    snapshot = hub / "snapshots" / NEW
    (snapshot / "model.safetensors").rename(snapshot / "pytorch_model.bin")
    listed(hub, "config.json", "pytorch_model.bin", "README.md")
    assert locate("org/name") == snapshot


def test_a_disk_in_a_models_place_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("icd_assets.vlm.weights._MOST_FILES", 5)
    folder = model(tmp_path / "a")
    for number in range(4):
        (folder / f"{number}.json").write_text("{}")
    with pytest.raises(UserError, match="holds over 5 files, so it is no folder of a model"):
        weights_digest(folder, DigestCache(tmp_path / "digests.json"))
