"""The cell's model and its encoders: there or to be had, whole, of a kind that works.

Weights are hashed, as the run will do anyway, but not loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from icd_assets.experiment.checks.look import Look
from icd_assets.pools.config import SAMPLERS
from icd_assets.runtime.finding import Finding
from icd_assets.runtime.small_file import read_small_json
from icd_assets.vlm.weight_headers import require_whole
from icd_assets.vlm.weights import availability, files_of, locate, weights_digest

if TYPE_CHECKING:
    from icd_assets.experiment.catalog_entries import EncoderEntry


@dataclass(frozen=True, slots=True)
class Clip:
    """An encoder: the width of its vectors, and the bytes of its weights."""

    width: int
    size: int


def vlm(look: Look) -> Iterator[Finding]:
    """What was found of the model; what is not here is downloaded where the run would do it."""
    model, experiment = look.experiment.model, look.experiment
    if model.unsupported is not None:
        if look.thorough:
            yield Finding("model", "warning", f"{model.name} cannot be asked: {model.unsupported}")
    elif look.asks or look.thorough:
        if not experiment.read_only:
            model.backend.digest(experiment.store.digests, fetch=True)
        yield from model.backend.check(
            model.name, model.prompt, experiment.store.digests, remember=look.scans.findings
        )


def encoders(look: Look) -> Iterator[Finding]:
    """The dataset's encoder, and another one that the sampler compares with."""
    experiment = look.experiment
    if not (look.encodes or look.thorough):
        return
    names = [experiment.dataset.encoder]
    if SAMPLERS[experiment.cell.sampler].needs_features:
        names.append(experiment.dataset.sampler_encoder)
    for name in dict.fromkeys(names):
        yield from encoder(look, experiment.encoder(name))


def encoder(look: Look, entry: EncoderEntry) -> Iterator[Finding]:
    experiment = look.experiment
    if not experiment.read_only:
        locate(entry.path, entry.revision)
    folder, finding = availability("encoder", entry.name, entry.path, entry.revision)
    yield finding
    if folder is None:
        return
    require_whole(folder)
    digest = weights_digest(folder, experiment.store.digests)
    yield from look.scans.findings(["encoder", _versions(), digest], lambda: _clip_kind(folder, digest))


def _clip_kind(folder: Path, digest: str) -> Iterator[Finding]:
    from icd_assets.selector.encoder import readers, towers

    (_, text), _ = towers(folder)
    readers(folder)
    yield Finding("encoder", "ok", f"clip with vectors of {text.projection_dim}, digest {digest[:16]}")


def glance(entry: EncoderEntry) -> Finding:
    """Whether an encoder is on this machine; raises ``UserError`` if it cannot be."""
    return availability("encoder", entry.name, entry.path, entry.revision)[1]


def clip(entry: EncoderEntry) -> Clip | None:
    """The encoder's sizes, from its files alone; None if it is not here, or cannot be read."""
    folder, _ = availability("encoder", entry.name, entry.path, entry.revision)
    if folder is None:
        return None
    try:
        config = read_small_json(folder / "config.json")
    except (OSError, ValueError):
        return None
    width = config.get("projection_dim", 512) if isinstance(config, dict) else None
    if not isinstance(width, int):
        return None
    size = sum(file.stat().st_size for file in files_of(folder) if file.suffix in (".safetensors", ".bin"))
    return Clip(width, size)


def _versions() -> str:
    from importlib.metadata import version

    return version("transformers")
