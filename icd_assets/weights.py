"""Where a model's weights lie, and their digest: what makes an answer this model's answer."""

from __future__ import annotations

from pathlib import Path

from icd_assets.digests import DigestCache, sha256_json
from icd_assets.errors import UserError

# What changes an answer: weights, configuration, tokenizer, processor, chat template. Not: cards, pictures.
_WEIGHTS = {".safetensors", ".bin", ".pt"}
_MATTERS = {".json", ".txt", ".model", ".jinja", *_WEIGHTS}
_LIGHT = ["*.json", "*.txt", "*.model", "*.jinja", "*.safetensors"]


def locate(path: str, revision: str | None = None) -> Path:
    """The folder of a model: a local one as it is, a hub id from the hub's cache (downloaded if allowed)."""
    folder = Path(path).expanduser()
    if folder.is_dir():
        return folder
    if folder.is_absolute() or path.startswith((".", "~")):
        raise UserError(f"model folder {path} does not exist; mend the path in the catalog.")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:  # what is on this machine is used as it is: an update of the hub must not change a digest unasked
        found = Path(snapshot_download(path, revision=revision, local_files_only=True))
        if _weights_in(found):
            return found
    except (LocalEntryNotFoundError, HFValidationError):
        pass
    try:
        found = Path(snapshot_download(path, revision=revision, allow_patterns=_LIGHT))
        if not _weights_in(found):  # an old repository with pickled weights alone
            snapshot_download(path, revision=revision, allow_patterns=["pytorch_model*.bin"])
        return found
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError):
        raise UserError(
            f"model {path} is neither a local folder nor in the hub's cache, and the hub cannot be reached; "
            "download it once, or name a local folder in the catalog."
        ) from None


def _weights_in(folder: Path) -> bool:
    return any(p.suffix in _WEIGHTS for p in folder.rglob("*"))


def weights_digest(folder: Path, digests: DigestCache) -> str:
    """SHA-256 over the files of a model folder that can change its answers."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix in _MATTERS)
    if not _weights_in(folder):
        raise UserError(f"model folder {folder} holds no weights (*.safetensors); download it again.")
    return sha256_json([[str(p.relative_to(folder)), digests.file(p)] for p in files])
