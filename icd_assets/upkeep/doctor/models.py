"""The cell's model and encoder: there or to be had, of a kind that works.

Weights are hashed, as the run will do anyway, but not loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from icd_assets.runtime.finding import Finding, findings
from icd_assets.vlm.weights import availability, weights_digest

if TYPE_CHECKING:
    from icd_assets.experiment.catalog_entries import EncoderEntry, ModelEntry
    from icd_assets.store.digests import DigestCache


@dataclass(frozen=True, slots=True)
class Clip:
    """An encoder: the width of its vectors, and the bytes of its weights."""

    width: int
    size: int


def vlm(entry: ModelEntry, digests: DigestCache) -> list[Finding]:
    """What was found of a model."""
    if entry.unsupported is not None:
        return [Finding("model", "warning", f"{entry.name} cannot be asked: {entry.unsupported}")]
    return findings("model", lambda: entry.backend.check(entry.name, entry.prompt, digests))


def glance(entry: EncoderEntry) -> Finding:
    """Whether an encoder is on this machine; raises ``UserError`` if it cannot be."""
    return availability("encoder", entry.name, entry.path, entry.revision)[1]


def clip(entry: EncoderEntry, digests: DigestCache) -> tuple[list[Finding], Clip | None]:
    """What was found, and the encoder if all is well."""
    loaded: list[Clip] = []

    def check() -> Iterator[Finding]:
        folder, finding = availability("encoder", entry.name, entry.path, entry.revision)
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
