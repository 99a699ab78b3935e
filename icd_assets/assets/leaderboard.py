"""leaderboard: every evaluated cell's recommended checkpoint, its score, and the RL data it learned from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dagster as dg

from icd_assets.assets.step import SharedResource
from icd_assets.digests import sha256_json
from icd_assets.durable import write_atomic
from icd_assets.store import Manifest, Store


@dg.asset(
    deps=["evaluation"],
    description="Every evaluated cell: its recommended checkpoint, accuracy or CIDEr, and RL data version.",
    code_version="1",
    kinds={"table"},
    group_name="icd",
)
def leaderboard(shared: SharedResource) -> dg.MaterializeResult[Any]:
    """Read the evaluation manifests under the results root; nothing is computed."""
    store = Store(Path(shared.results_root))
    rows = [_row(store, path) for path in sorted(store.root.glob("*/icl_inference/*/evaluation.manifest.json"))]
    rows.sort(key=lambda row: (row["dataset"], -row["score"]))
    path = store.root / "leaderboard.json"
    write_atomic(path, (json.dumps(rows, indent=1) + "\n").encode())
    records = [dg.TableRecord(row) for row in rows]
    return dg.MaterializeResult(
        data_version=dg.DataVersion(sha256_json(rows)[:16]),
        metadata={
            "dagster/row_count": len(rows),
            "leaderboard": dg.MetadataValue.table(records=records) if records else "no cell is evaluated yet",
            "path": dg.MetadataValue.path(str(path)),
        },
    )


def _row(store: Store, path: Path) -> dict[str, Any]:
    manifest = store.require(path, "evaluation")
    v2format = _upstream(store, manifest, "v2format_checkpoint")
    phase = v2format.facts["phase"] if v2format else "unknown"
    trained = _upstream(store, v2format, f"{phase}_checkpoints") if v2format else None
    dataset, rest = manifest.cell.split("|")
    metric = manifest.facts.get("metric", "accuracy")  # evaluations of before captions do not say
    return {
        "dataset": dataset,
        "sampler_model": rest,
        "metric": metric,
        "score": round(manifest.facts[f"recommended_{metric}"], 4),
        "shots": manifest.facts["compare_shots"],
        "questions": manifest.facts["rows"],
        "rl_data_version": trained.want.digests["rl_data"] if trained else "unknown",
        "recommended": v2format.files[0].path if v2format else "unknown",
        "evaluated_at": manifest.created_at,
    }


def _upstream(store: Store, manifest: Manifest, name: str) -> Manifest | None:
    """The upstream artifact that ``manifest`` really read; None if it has been made again since."""
    given = manifest.want.inputs.get(name)
    if given is None or given.manifest is None:
        return None
    found = store.read(store.root / given.manifest)
    return found if found is not None and found.data_version == given.data_version else None
