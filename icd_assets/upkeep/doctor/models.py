"""The cell's model and encoder: there or to be had, of a kind that works, with processor and chat template.

Weights are hashed, as the run will do anyway, but not loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icd_assets.errors import UserError
from icd_assets.upkeep.doctor.finding import Finding, findings, in_bytes
from icd_assets.vlm.endpoint import require_client
from icd_assets.vlm.weights import locate, weights_digest

if TYPE_CHECKING:
    from icd_assets.experiment.entries import EncoderEntry, ModelEntry
    from icd_assets.store.digests import DigestCache
    from icd_assets.vlm.endpoint import Endpoint

_SERVER_SECONDS = 5.0
_READ = ["*.json", "*.txt", "*.model", "*.jinja", "*.safetensors"]


def available(subject: str, entry: EncoderEntry | ModelEntry) -> tuple[Path | None, Finding]:
    """The model's folder if it is on this machine. Nothing is downloaded; the hub is only asked."""
    path = str(entry.path)
    try:
        folder = locate(path, entry.revision, fetch=False)
    except UserError:
        if Path(path).expanduser().is_absolute() or Path(path).is_dir() or path.startswith("."):
            raise
        return None, _on_the_hub(subject, entry)
    return folder, Finding(subject, "ok", f"{entry.name}: {folder}")


def _on_the_hub(subject: str, entry: EncoderEntry | ModelEntry) -> Finding:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    options: dict[str, Any] = {"revision": entry.revision, "allow_patterns": _READ, "dry_run": True}
    try:
        files: Any = snapshot_download(str(entry.path), **options)  # what it would download
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError):
        return Finding(
            subject,
            "problem",
            f"{entry.name}: {entry.path} is neither a local folder nor in the hub's cache, and the hub cannot be "
            "reached or does not have it",
            "download it once, or name a local folder in the catalog",
        )
    size = sum(file.file_size or 0 for file in files if file.will_download)
    return Finding(
        subject,
        "warning",
        f"{entry.name}: {entry.path} is not on this machine; the run downloads {in_bytes(size)} first",
        "download it beforehand, then the doctor sees more of it",
    )


@dataclass(frozen=True, slots=True)
class Vlm:
    """What a VLM is without its weights: transformers' configuration and processor."""

    config: Any
    processor: Any


@dataclass(frozen=True, slots=True)
class Clip:
    """An encoder: the width of its vectors, and the bytes of its weights."""

    width: int
    size: int


def vlm(entry: ModelEntry, digests: DigestCache) -> tuple[list[Finding], Vlm | None]:
    """What was found, and the model if all is well."""
    loaded: list[Vlm] = []

    def check() -> Iterator[Finding]:
        if entry.unsupported is not None:
            yield Finding("model", "warning", f"{entry.name} cannot be asked: {entry.unsupported}")
            return
        if entry.endpoint is not None:
            yield _served(entry.name, entry.endpoint)
            return
        folder, finding = available("model", entry)
        yield finding
        if folder is None:
            return
        from icd_assets.vlm.chat import Chat
        from icd_assets.vlm.model import require_image_text
        from icd_assets.vlm.processor import load_processor, read_config

        yield Finding("model", "ok", f"digest {weights_digest(folder, digests)[:16]}")
        config = read_config(folder)
        require_image_text(config, folder)
        processor = load_processor(folder, min_pixels=entry.min_pixels, max_pixels=entry.max_pixels)
        Chat(processor, entry.prompt)  # refuses a template that loses a part of such prompts
        yield Finding("model", "ok", f"{config.model_type} is supported, its processor and chat template work")
        loaded.append(Vlm(config, processor))

    return findings("model", check), loaded[0] if loaded else None


def _served(name: str, endpoint: Endpoint) -> Finding:
    """Whether the server is there and knows the model. Raises ``UserError`` if it cannot be reached."""
    require_client()
    import asyncio

    from icd_assets.vlm.endpoint_client import EndpointClient

    impatient = {"retries": 0, "timeout_seconds": _SERVER_SECONDS, "give_up_seconds": 2 * _SERVER_SECONDS}

    async def ask() -> bool:
        async with EndpointClient(endpoint.model_copy(update=impatient)) as client:
            return await client.served() is not None

    if asyncio.run(ask()):
        return Finding("model", "ok", f"{name}: served at {endpoint.url} as {endpoint.model}")
    text = f"{name}: the server at {endpoint.url} is there, but lists no model {endpoint.model}"
    return Finding("model", "warning", text, "check the endpoint's model; some servers list only what they cached")


def clip(entry: EncoderEntry, digests: DigestCache) -> tuple[list[Finding], Clip | None]:
    """The same of an encoder."""
    loaded: list[Clip] = []

    def check() -> Iterator[Finding]:
        folder, finding = available("encoder", entry)
        yield finding
        if folder is None:
            return
        from icd_assets.selector.encoder import towers

        digest = weights_digest(folder, digests)
        (_, text), _ = towers(folder)
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.suffix in (".safetensors", ".bin"))
        yield Finding("encoder", "ok", f"clip with vectors of {text.projection_dim}, digest {digest[:16]}")
        loaded.append(Clip(text.projection_dim, size))

    return findings("encoder", check), loaded[0] if loaded else None
