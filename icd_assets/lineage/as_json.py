"""``lineage --json``: the chain as a flat, stable document.

    schema          2 (1 was called lineage_schema); raised when a key changes its meaning or goes away
    results_root    where manifests were looked for
    targets         one per artifact asked about: {artifact, file, problem, flags}; artifact is a key of
                    ``artifacts``, flags mean it where the settings do not
    artifacts       by key: name, asset, state, data_version, cell, run_id, created_at, manifest (path under the
                    root), code_version, config_digest, config, environment, origin, seconds,
                    files [{path, size, sha256, pruned}], inputs {name: key}, same_bytes_by_runs,
                    now (null, or {data_version, run_id, created_at} of what lies at its place today)
    verified        with --verify: {files, differs, unchecked}
    rows            with --rows: [{row, question_id}]

What is not known is null: a dataset has no run, a lone file no config.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from icd_assets.lineage.chain import Artifact
from icd_assets.lineage.rehash import Rehashed
from icd_assets.lineage.rows import TrainedRow
from icd_assets.lineage.target import Target
from icd_assets.store.store import Store

LINEAGE_SCHEMA = 2


def as_json(
    targets: Sequence[Target], store: Store, verified: Rehashed | None, rows: Sequence[TrainedRow] | None
) -> dict[str, Any]:
    nodes = {node.key: node for target in targets for node in target.chain.walk()}
    document: dict[str, Any] = {
        "results_root": str(store.root),
        "targets": [
            {
                "artifact": target.chain.key,
                "file": str(target.file) if target.file else None,
                "problem": target.problem,
                "flags": target.flags,
            }
            for target in targets
        ],
        "artifacts": {key: _artifact(node) for key, node in nodes.items()},
    }
    if verified is not None:
        document["verified"] = asdict(verified)
    if rows is not None:
        document["rows"] = [asdict(row) for row in rows]
    return document


def _artifact(node: Artifact) -> dict[str, Any]:
    manifest, now = node.manifest, node.now
    return {
        "name": node.name,
        "asset": node.asset if node.state != "outside" else None,
        "state": node.state,
        "data_version": node.data_version,
        "cell": manifest.cell if manifest else None,
        "run_id": node.run_id,
        "created_at": node.created_at,
        "manifest": node.place,
        "code_version": node.code_version,
        "config_digest": node.config_digest,
        "config": node.config,
        "environment": manifest.environment if manifest else None,
        "origin": manifest.origin if manifest else None,
        "seconds": manifest.seconds if manifest else None,
        "files": [record.model_dump() for record in manifest.files] if manifest else [],
        "inputs": {name: given.key for name, given in node.inputs.items()},
        "same_bytes_by_runs": list(node.same_bytes),
        "now": now and {name: getattr(now, name) for name in ("data_version", "run_id", "created_at")},
    }
