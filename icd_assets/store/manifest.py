"""What is recorded beside a complete artifact: its files, and what it was made of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from icd_assets.errors import UserError
from icd_assets.store.digests import sha256_json

MANIFEST_SCHEMA = 1


class Input(BaseModel):
    """One thing an artifact was made from, and the digest of what was read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_version: str = Field(description="Digest of the content that was read.")
    manifest: str | None = Field(
        None,
        description="The input's own manifest, relative to the results root; null for what lies outside, such as "
        "datasets and weights.",
    )
    run_id: str | None = Field(None, description="The run that made the input.")
    created_at: str | None = Field(None, description="When it was made.")

    @field_validator("manifest")
    @classmethod
    def _inside(cls, manifest: str | None) -> str | None:
        if manifest is not None and _climbs(manifest, outside=False):
            raise ValueError(f"the path {manifest!r} leads out of the results")
        return manifest


class FileRecord(BaseModel):
    """A file of an artifact; ``path`` is relative to the results root, or absolute outside it.

    ``pruned`` says when we removed it as an epoch that nothing needs; the artifact is complete without it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = Field(description="Relative to the results root, or absolute outside it.")
    size: int = Field(description="In bytes.")
    sha256: str = Field(description="Digest of its bytes.")
    pruned: str | None = Field(None, description="When we removed it, as an epoch that nothing needs.")

    @field_validator("path")
    @classmethod
    def _inside(cls, path: str) -> str:
        if _climbs(path, outside=True):
            raise ValueError(f"the path {path!r} leads out of the results")
        return path


class Spec(BaseModel):
    """What an artifact should be made of. Two equal specs give equal bytes on a CPU."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    asset: str = Field(pattern=r"^\w+$", description="The step.")
    code_version: str = Field(description="Raised when the same inputs would give other bytes.")
    config: dict[str, Any] = Field(description="The settings that mattered.")
    inputs: dict[str, Input] = Field(description="What was read, by name.")

    @property
    def digests(self) -> dict[str, str]:
        return {name: given.data_version for name, given in self.inputs.items()}

    @property
    def digest(self) -> str:
        """Identity of the spec: run ids and times do not count."""
        return sha256_json([self.asset, self.code_version, self.config, self.digests])

    def lineage(self) -> dict[str, Any]:
        """What a checkpoint carries inside, so that a copy taken elsewhere still names its RL data."""
        return {
            "asset": self.asset,
            "code_version": self.code_version,
            "config_digest": sha256_json(self.config),
            "inputs": self.digests,
        }


class Manifest(BaseModel):
    """The record beside a complete artifact."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True, serialize_by_alias=True)

    manifest_schema: int = Field(MANIFEST_SCHEMA, description="Version of this form.")
    # The key stays as it was: what stands in files is never renamed.
    spec: Spec = Field(alias="want", description="What the artifact was made of.")
    config_digest: str = Field(description="Digest of the settings that mattered.")
    data_version: str = Field(pattern=r"^\w+$", description="Digest of the content, which Dagster shows too.")
    files: list[FileRecord] = Field(description="Its files.")
    facts: dict[str, Any] = Field(description="What the step found out while it made them.")
    origin: str = Field(
        "made",
        description="`imported`: the user's own file, verified and recorded; `adopted`: Lever-Plus', of which "
        "only that is known which stands in `want`, in `facts` and in the file itself.",
    )
    unknown: list[str] = Field([], description="What an adopted artifact does not say about itself.")
    vlm: tuple[str, ...] = Field(
        (), description="Digests of the VLMs whose answers it rests on: its own first, then its inputs'."
    )
    cell: str = Field(description="Dataset, sampler and model, as Dagster's partition key.")
    run_id: str | None = Field(description="The run that made it; an adopted artifact's is not known.")
    created_at: str = Field(description="When it was complete, in UTC.")
    seconds: float = Field(description="How long it took.")
    environment: dict[str, str] = Field(description="Versions of packages, machine, device and git commit.")

    @model_validator(mode="after")
    def _ours_lies_inside(self) -> Manifest:
        if self.origin == "made" and any(PurePosixPath(record.path).is_absolute() for record in self.files):
            raise ValueError("a file that we made lies outside the results")
        return self

    def fact(self, name: str) -> Any:
        """What the step found out; :class:`UserError` if the manifest does not say it."""
        if name not in self.facts:
            raise UserError(f"the manifest of {self.spec.asset} of {self.cell} says no {name}; make it again.")
        return self.facts[name]

    @property
    def tracker_links(self) -> dict[str, str]:
        """Tracker → where it shows the run: a URL, or a path, relative to the results if it lies there."""
        found = self.facts.get("trackers")
        links = found if isinstance(found, dict) else {}
        return {name: link for name, link in links.items() if isinstance(link, str)}

    @property
    def build(self) -> str:
        """Tells apart two runs that made the same bytes."""
        return sha256_json([self.spec.asset, self.cell, self.run_id, self.created_at])[:12]


def _climbs(path: str, *, outside: bool) -> bool:
    """Whether a recorded path, relative to the results, leads out of them; ``outside``: absolute ones may."""
    pure = PurePosixPath(path)
    if pure.is_absolute():
        return not outside
    return ".." in pure.parts or "\0" in path or not pure.parts


def data_version(records: list[FileRecord]) -> str:
    """Content alone: names, run ids and times do not count, but the order of files does."""
    return sha256_json([record.sha256 for record in records])[:16]


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"vlm": {"dtype": x}}`` as ``{"vlm.dtype": x}``"""
    found: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            found |= flatten(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found
