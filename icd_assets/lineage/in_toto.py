"""A chain as in-toto Statements (v1) with SLSA provenance (v1), one per artifact, the one asked about first.

Unsigned: sign the statements with your own tool. ``buildType`` is ``urn:icd-assets:step:<asset>:<code version>``.
What a file's sha256 names is named so; a dataset's or a model's digest is over several files (``digests.py``,
``weights.py``), and stands under ``icdAssets``: 64 lowercase hex digits, or 16 for part of an artifact.

Sources: in-toto attestation spec v1 (statement, resource_descriptor, digest_set), SLSA provenance v1.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from icd_assets.lineage.chain import Artifact
from icd_assets.runtime.provenance import ARITHMETIC, MODEL_SERVER
from icd_assets.store.manifest import Manifest

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"


def statements(chain: Artifact) -> Iterator[dict[str, Any]]:
    """Of every artifact in the chain whose manifest is known."""
    for node in chain.walk():
        if node.manifest is not None and "." not in node.name:
            yield _statement(node, node.manifest)


def _statement(node: Artifact, manifest: Manifest) -> dict[str, Any]:
    spec = manifest.spec
    started, ended = times(manifest)
    return {
        "_type": STATEMENT,
        "subject": _files(manifest),
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": f"urn:icd-assets:step:{spec.asset}:{spec.code_version}",
                "externalParameters": {"cell": manifest.cell, "origin": manifest.origin, "config": spec.config},
                "internalParameters": {
                    "config_digest": manifest.config_digest,
                    "environment": manifest.environment,
                },
                "resolvedDependencies": [
                    dependency for name, given in node.inputs.items() for dependency in _dependencies(name, given)
                ],
            },
            "runDetails": {
                "builder": {
                    "id": "urn:icd-assets:builder",
                    "version": {
                        name: version
                        for name, version in manifest.environment.items()
                        if name not in ("device", *ARITHMETIC, *MODEL_SERVER)
                    },
                },
                "metadata": {
                    "invocationId": manifest.run_id or manifest.build,
                    "startedOn": started,
                    "finishedOn": ended,
                },
            },
        },
    }


def _dependencies(name: str, given: Artifact) -> list[dict[str, Any]]:
    """The files of an upstream artifact; else the one digest that is known of it."""
    if given.manifest is None or "." in name:
        return [{"name": name, "digest": {"icdAssets": given.data_version}}]
    notes = {"data_version": given.data_version, "run_id": given.run_id, "made": given.created_at}
    return [
        {**record, "name": f"{name}/{record['name']}", "annotations": notes} for record in _files(given.manifest)
    ]


def _files(manifest: Manifest) -> list[dict[str, Any]]:
    return [{"name": record.path, "digest": {"sha256": record.sha256}} for record in manifest.files]


def times(manifest: Manifest) -> tuple[str, str]:
    """Start and end of the build, as RFC 3339 in UTC."""
    ended = datetime.fromisoformat(manifest.created_at).astimezone(UTC)
    started = ended - timedelta(seconds=manifest.seconds)
    return _zulu(started), _zulu(ended)


def _zulu(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
