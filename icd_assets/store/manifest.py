"""What is recorded beside a complete artifact: its files, and what it was made of."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from icd_assets.errors import UserError
from icd_assets.runtime.foreign import brief, printable
from icd_assets.runtime.small_file import parse_json, read_small_text
from icd_assets.store.digests import sha256_json

MANIFEST_SCHEMA = 1
MANIFEST_BYTES = 16 << 20  # bytes
_LONGEST_NAME, _LONGEST_PATH = 255, 4096  # bytes, as Linux has them


def moment(text: str) -> str:
    """``text``, if it is a time at which an artifact can have been made, with its zone; else a ``ValueError``."""
    when = datetime.fromisoformat(text)
    if not 1970 <= when.year < 2200 or when.tzinfo is None:
        raise ValueError(f"{brief(text)} is no time of an artifact's")
    return text


_Digest = Annotated[str, Field(max_length=200)]
_Name = Annotated[str, Field(max_length=1000)]
_Moment = Annotated[str, Field(max_length=40), AfterValidator(moment)]


class Input(BaseModel):
    """One thing an artifact was made from, and the digest of what was read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_version: _Digest = Field(description="Digest of the content that was read.")
    manifest: str | None = Field(
        None,
        description="The input's own manifest, relative to the results root; null for what lies outside, such as "
        "datasets and weights.",
    )
    run_id: _Name | None = Field(None, description="The run that made the input.")
    created_at: _Name | None = Field(None, description="When it was made.")

    @field_validator("manifest")
    @classmethod
    def _inside(cls, manifest: str | None) -> str | None:
        if manifest is not None and _climbs(manifest, outside=False):
            raise ValueError(f"the path {brief(manifest)} leads out of the results")
        return manifest


class FileRecord(BaseModel):
    """A file of an artifact; ``path`` is relative to the results root, or absolute outside it.

    ``pruned`` says when we removed it as an epoch that nothing needs; the artifact is complete without it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = Field(description="Relative to the results root, or absolute outside it.")
    size: int = Field(ge=0, le=2**63, description="In bytes.")
    sha256: _Digest = Field(description="Digest of its bytes.")
    pruned: _Name | None = Field(None, description="When we removed it, as an epoch that nothing needs.")

    @field_validator("path")
    @classmethod
    def _inside(cls, path: str) -> str:
        if _climbs(path, outside=True):
            raise ValueError(f"the path {brief(path)} leads out of the results")
        return path


class Spec(BaseModel):
    """What an artifact should be made of. Two equal specs give equal bytes on a CPU."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    asset: str = Field(pattern=r"^\w+$", max_length=100, description="The step.")
    code_version: _Name = Field(description="Raised when the same inputs would give other bytes.")
    config: dict[str, Any] = Field(description="The settings that mattered.")
    inputs: dict[_Name, Input] = Field(description="What was read, by name.")

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
    config_digest: _Digest = Field(description="Digest of the settings that mattered.")
    data_version: str = Field(
        pattern=r"^\w+$", max_length=100, description="Digest of the content, which Dagster shows too."
    )
    files: list[FileRecord] = Field(description="Its files.")
    facts: dict[str, Any] = Field(description="What the step found out while it made them.")
    origin: _Name = Field(
        "made",
        description="`imported`: the user's own file, verified and recorded; `adopted`: Lever-Plus', of which "
        "only that is known which stands in `want`, in `facts` and in the file itself.",
    )
    unknown: list[_Name] = Field([], description="What an adopted artifact does not say about itself.")
    vlm: tuple[_Digest, ...] = Field(
        (), description="Digests of the VLMs whose answers it rests on: its own first, then its inputs'."
    )
    cell: _Name = Field(description="Dataset, sampler and model, as Dagster's partition key.")
    run_id: _Name | None = Field(description="The run that made it; an adopted artifact's is not known.")
    created_at: _Moment = Field(description="When it was complete, in UTC.")
    seconds: float = Field(ge=0, le=1e9, description="How long it took.")
    environment: dict[_Name, _Name] = Field(description="Versions of packages, machine, device and git commit.")

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
    """Whether a recorded path, relative to the results, leads out of them, or can be none; ``outside``: absolute
    ones may."""
    pure = PurePosixPath(path)
    if "\0" in path or len(os.fsencode(path)) > _LONGEST_PATH:
        return True
    if any(len(os.fsencode(part)) > _LONGEST_NAME for part in pure.parts):
        return True
    if pure.is_absolute():
        return not outside
    return ".." in pure.parts or not pure.parts


def read_manifest(path: Path) -> Manifest:
    """The manifest at ``path``. Raises ``OSError`` where it cannot be read, ``ValueError`` where it is none."""
    return parse_manifest(read_small_text(path, MANIFEST_BYTES))


def parse_manifest(text: str) -> Manifest:
    """What :func:`read_manifest` makes of a file's text."""
    parse_json(text)  # numbers that are finite, of a depth that Python's own reader takes
    return Manifest.model_validate_json(text)


def wrong_with(error: ValueError) -> str:
    """What :func:`read_manifest` found, in words."""
    if not isinstance(error, ValidationError):
        return "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else printable(str(error))[:200]
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    said = first["msg"].removeprefix("Value error, ")
    return printable(f"{said[:1].lower()}{said[1:200]}{f' at {where[:100]}' if where else ''}")


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
