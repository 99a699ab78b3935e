"""A chain as OpenLineage events (spec 2-0-2): per artifact a START and a COMPLETE, oldest first.

One Dagster run makes several artifacts, but an OpenLineage run belongs to one job: each artifact is a run of its
own (an id derived from the build), whose parent is the Dagster run. A dataset's version is its data version; an
input's is the one that was consumed. Sources: spec/OpenLineage.json, facets ParentRun 1-1-0, DatasetVersion 1-0-1.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

from icd_assets import __version__
from icd_assets.lineage.chain import Artifact
from icd_assets.lineage.in_toto import times
from icd_assets.store.manifest import Manifest

SCHEMA = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
PRODUCER = f"urn:icd-assets:{__version__}"
NAMESPACE = "icd_assets"
_FACETS = "https://openlineage.io/spec/facets"
_IDS = uuid.UUID("6f6b7a30-3f0e-5b7a-9f0c-1cd0a55e7500")


def events(chain: Artifact) -> Iterator[dict[str, Any]]:
    """Of every artifact in the chain whose manifest is known."""
    for node in reversed(chain.walk()):
        if node.manifest is not None and "." not in node.name:
            started, ended = times(node.manifest)
            yield _event("START", started, node, node.manifest)
            yield _event("COMPLETE", ended, node, node.manifest)


def _event(kind: str, time: str, node: Artifact, manifest: Manifest) -> dict[str, Any]:
    return {
        "eventType": kind,
        "eventTime": time,
        "producer": PRODUCER,
        "schemaURL": SCHEMA,
        "run": {
            "runId": str(uuid.uuid5(_IDS, manifest.build)),
            "facets": {
                **_parent(manifest.run_id),
                "icd_assets": _facet(
                    None,
                    cell=manifest.cell,
                    origin=manifest.origin,
                    code_version=manifest.spec.code_version,
                    config=manifest.spec.config,
                    environment=manifest.environment,
                    run_id=manifest.run_id,
                ),
            },
        },
        "job": {"namespace": NAMESPACE, "name": f"{manifest.cell}/{node.name}"},
        "inputs": [_dataset(given.manifest, name, given) for name, given in node.inputs.items()],
        "outputs": [_dataset(manifest, node.name, node)],
    }


def _parent(run_id: str | None) -> dict[str, Any]:
    """The Dagster run; an adopted artifact has none."""
    if run_id is None:
        return {}
    facet = _facet(
        "1-1-0/ParentRunFacet.json#/$defs/ParentRunFacet",
        run={"runId": _run_id(run_id)},
        job={"namespace": NAMESPACE, "name": "dagster_run"},
    )
    return {"parent": facet}


def _dataset(manifest: Manifest | None, name: str, node: Artifact) -> dict[str, Any]:
    """An artifact by its cell and name; what lies outside is shared by cells and has a name alone."""
    facets = {
        "version": _facet(
            "1-0-1/DatasetVersionDatasetFacet.json#/$defs/DatasetVersionDatasetFacet",
            datasetVersion=node.data_version,
        )
    }
    if manifest is not None:
        facets["icd_assets"] = _facet(None, files=[record.model_dump() for record in manifest.files])
    place = f"{manifest.cell}/" if manifest is not None else ""
    return {"namespace": NAMESPACE, "name": place + name, "facets": facets}


def _facet(schema: str | None, **fields: Any) -> dict[str, Any]:
    """A facet of the spec; or one of ours, which has the form of any facet."""
    url = (
        f"{_FACETS}/{schema}" if schema else "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/BaseFacet"
    )
    return {"_producer": PRODUCER, "_schemaURL": url, **fields}


def _run_id(run_id: str) -> str:
    """Dagster's run id; what was not made by a run (an adopted file) has an id derived from what it says."""
    try:
        return str(uuid.UUID(run_id))
    except ValueError:
        return str(uuid.uuid5(_IDS, run_id))
