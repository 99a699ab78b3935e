"""Why two artifacts differ: field by field, and input by input down to the first causes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from icd_assets.lineage.chain import Artifact
from icd_assets.runtime.provenance import ARITHMETIC
from icd_assets.store.manifest import Spec, flatten

# asset: two kinds of thing, of which only common inputs are compared · config: a setting · seed: a seed
# code: a step's code version · data: an input that has no parts to compare
# environment: package versions, device, and, where nothing else explains it, threads, CPU or BLAS
# unexplained: same everything, other bytes
Kind = Literal["asset", "config", "seed", "code", "data", "environment", "unexplained"]


@dataclass(frozen=True)
class Difference:
    """``field`` of the artifact at the end of ``path`` (from what was compared, input by input) was ``a`` and
    ``b``; None where one side lacks it."""

    kind: Kind
    path: tuple[str, ...]
    field: str
    a: Any
    b: Any


def differences(a: Artifact, b: Artifact) -> list[Difference]:
    """From consumers down to the first causes; empty if both have the same bytes.

    An input that differs is followed, not named, unless it lies outside or its manifest is unknown.
    """
    found = list(_compare(a, b, (a.name,), set()))
    seen: set[tuple[Any, ...]] = set()
    kept = []
    for one in found:  # an environment is that of a whole run: it is named where it first shows
        key = (one.kind, one.field, str(one.a), str(one.b), None if one.kind == "environment" else one.path[-1])
        if key not in seen:
            seen.add(key)
            kept.append(one)
    return kept


def _compare(a: Artifact, b: Artifact, path: tuple[str, ...], met: set[tuple[str, str]]) -> Iterator[Difference]:
    if a.data_version is not None and a.data_version == b.data_version:
        return
    if (a.key, b.key) in met:
        return
    met.add((a.key, b.key))
    alike = a.name == b.name
    causes = [*_own(a, b, path)] if alike else [Difference("asset", path, "asset", a.name, b.name)]
    for name in sorted({*a.inputs} | {*b.inputs} if alike else {*a.inputs} & {*b.inputs}):
        one, other = a.inputs.get(name), b.inputs.get(name)
        causes += _input(name, one, other, (*path, name), met)
    yield from causes
    if a.manifest is None or b.manifest is None:
        if not causes:
            yield Difference("data", path, "data_version", a.data_version, b.data_version)
        return
    environments = _fields("environment", path, a.manifest.environment, b.manifest.environment)
    if causes:  # last bits that follow the machine do not explain what other inputs or settings do
        environments = [one for one in environments if one.field not in ARITHMETIC]
    yield from environments
    if not causes and not environments:
        yield Difference("unexplained", path, "data_version", a.data_version, b.data_version)


def _own(a: Artifact, b: Artifact, path: tuple[str, ...]) -> Iterator[Difference]:
    if a.code_version != b.code_version:
        yield Difference("code", path, "code_version", a.code_version, b.code_version)
    if a.config is not None and b.config is not None:
        yield from config_changes(a.config, b.config, path)
    elif a.config_digest != b.config_digest:  # a lone file knows its digest only
        yield Difference("config", path, "config_digest", a.config_digest, b.config_digest)


def _input(
    name: str, a: Artifact | None, b: Artifact | None, path: tuple[str, ...], met: set[tuple[str, str]]
) -> Iterator[Difference]:
    if a is None or b is None:
        there = [None if side is None else side.data_version for side in (a, b)]
        yield Difference("data", path, "input", *there)
    elif a.data_version != b.data_version and not (a.inputs or b.inputs or a.manifest or b.manifest):
        yield Difference("data", path, "data_version", a.data_version, b.data_version)
    else:
        yield from _compare(a, b, path, met)


def config_changes(a: Mapping[str, Any], b: Mapping[str, Any], path: tuple[str, ...]) -> list[Difference]:
    return _fields("config", path, flatten(a), flatten(b))


def spec_changes(have: Spec, spec: Spec) -> list[Difference]:
    """What an artifact was made of against what it should be made of; inputs by digest alone."""
    path = (have.asset,)
    code = Difference("code", path, "code_version", have.code_version, spec.code_version)
    return [
        *([code] if have.code_version != spec.code_version else []),
        *config_changes(have.config, spec.config, path),
        *_fields("data", path, have.digests, spec.digests),
    ]


def _fields(kind: Kind, path: tuple[str, ...], a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Difference]:
    return [
        Difference("seed" if kind == "config" and name == "seed" else kind, path, name, a.get(name), b.get(name))
        for name in sorted({*a, *b})
        if a.get(name) != b.get(name)
    ]
