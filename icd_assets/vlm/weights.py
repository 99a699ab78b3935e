"""Where a model's weights lie, whether they can be had, and their digest: what makes an answer this model's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from icd_assets.errors import UserError
from icd_assets.runtime.finding import Finding, in_bytes
from icd_assets.runtime.user_path import expanded
from icd_assets.store.digests import DigestCache, sha256_json

Dtype = Literal["float32", "bfloat16", "float16"]

# What changes an answer: weights, configuration, tokenizer, processor, chat template. Not: cards, pictures.
_WEIGHTS = {".safetensors", ".bin", ".pt"}
_MATTERS = {".json", ".txt", ".model", ".jinja", *_WEIGHTS}
_LIGHT = ["*.json", "*.txt", "*.model", "*.jinja", "*.safetensors"]
_PICKLED = "pytorch_model*.bin"
_MOST_FILES = 10_000  # of a model; the largest sharded ones have some hundreds


def locate(path: str, revision: str | None = None, *, fetch: bool = True) -> Path:
    """The folder of a model: a local one as it is, a hub id from the hub's cache (downloaded if ``fetch``).

    ``revision`` is a hub id's commit, tag or branch; default: what the cache, or else the hub, calls ``main``.
    """
    folder = expanded(path, "model folder")
    if folder.is_dir():
        if revision is not None:
            raise UserError(
                f"model folder {path} is a local one and has no revision {revision!r}; unset it in the catalog."
            )
        return folder
    if folder.is_absolute() or path.startswith((".", "~")):
        raise UserError(f"model folder {path} does not exist; fix the path in the catalog.")
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RevisionNotFoundError

    try:
        # What is on this machine is used as it is: an update of the hub must not change a digest unasked.
        found = _snapshot(path, revision, here=True)
        if found is None and fetch:
            found = _snapshot(path, revision, here=False)
    except RevisionNotFoundError:
        raise UserError(
            f"model {path} has no revision {revision!r} on the hub; fix revision in the catalog."
        ) from None
    except (HFValidationError, HfHubHTTPError, OSError):
        found = None
    if found is not None:
        return found
    if not fetch:
        raise UserError(f"model {path} is not on this machine; it is downloaded when it is first needed.")
    if revision is not None and (known := _revisions_here(path)):
        raise UserError(
            f"model {path} is in the hub's cache, but not whole at revision {revision!r} (there: "
            f"{', '.join(known)}), and the hub cannot be reached; fix revision in the catalog, or download it."
        )
    raise UserError(
        f"model {path} is neither a local folder nor whole in the hub's cache, and the hub cannot be reached; "
        "download it once, or name a local folder in the catalog."
    )


def _snapshot(path: str, revision: str | None, *, here: bool) -> Path | None:
    """A snapshot that holds weights, or None; ``here``: without asking the hub.

    The same patterns both times: the hub's cache calls a snapshot whole if it holds what was asked for.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    for patterns in (_LIGHT, [*_LIGHT, _PICKLED]):  # the latter for an old repository with nothing else
        try:
            found = snapshot_download(path, revision=revision, allow_patterns=patterns, local_files_only=here)
        except LocalEntryNotFoundError:
            return None
        if _weights_in(Path(found)):
            return Path(found)
    return None


def _revisions_here(path: str) -> list[str]:
    """What the hub's cache has of a model: branches and tags, then commits."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    folder = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=path, repo_type="model")
    names = sorted(str(p.relative_to(folder / "refs")) for p in (folder / "refs").rglob("*") if p.is_file())
    return names + sorted(p.name for p in (folder / "snapshots").glob("*"))


def availability(subject: str, name: str, path: str, revision: str | None) -> tuple[Path | None, Finding]:
    """The folder of the model ``name`` if it is on this machine. Nothing is downloaded; the hub is only asked."""
    try:
        folder = locate(path, revision, fetch=False)
    except UserError:
        if expanded(path).is_absolute() or Path(path).is_dir() or path.startswith("."):
            raise
        return None, _on_the_hub(subject, name, path, revision)
    return folder, Finding(subject, "ok", f"{name}: {folder}")


def _on_the_hub(subject: str, name: str, path: str, revision: str | None) -> Finding:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    options: dict[str, Any] = {"revision": revision, "allow_patterns": _LIGHT, "dry_run": True}
    try:
        files: Any = snapshot_download(path, **options)  # what it would download
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError):
        return Finding(
            subject,
            "problem",
            f"{name}: {path} is neither a local folder nor in the hub's cache, and the hub cannot be "
            "reached or does not have it",
            "download it once, or name a local folder in the catalog",
        )
    size = sum(file.file_size or 0 for file in files if file.will_download)
    return Finding(
        subject,
        "warning",
        f"{name}: {path} is not on this machine; the run downloads {in_bytes(size)} first",
        "download it beforehand, then the doctor sees more of it",
    )


def _weights_in(folder: Path) -> bool:
    return any(p.suffix in _WEIGHTS for p in files_of(folder))


def files_of(folder: Path) -> Iterator[Path]:
    """What is no folder in a model's folder, at any depth. Raises ``UserError`` for one that holds more than any
    model does: a disk, say, of which every file would be read."""
    found = 0
    for place, _, names in os.walk(folder):
        found += len(names)
        if found > _MOST_FILES:
            raise UserError(f"{folder} holds over {_MOST_FILES} files, so it is no folder of a model; name that.")
        yield from (Path(place, name) for name in names)


def weights_digest(folder: Path, digests: DigestCache) -> str:
    """SHA-256 over the files of a model folder that can change its answers."""
    files = sorted(p for p in files_of(folder) if p.is_file() and p.suffix in _MATTERS)
    if not _weights_in(folder):
        raise UserError(f"model folder {folder} holds no weights (*.safetensors); download it again.")
    return sha256_json([[str(p.relative_to(folder)), digests.file(p)] for p in files])


def answers_digest(digest: str, dtype: Dtype, min_pixels: int | None, max_pixels: int | None) -> str:
    """Of all that decides an answer besides prompt and decoding: the model's files (``digest``), and how they are
    used."""
    return sha256_json([digest, dtype, min_pixels, max_pixels])
