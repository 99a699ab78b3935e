"""leaderboard: every cell's recommended checkpoint, the RL data it learned from, and its score if evaluated."""

# No postponed annotations here: Dagster reads the context's type as it is.
import json
from collections.abc import Iterator
from typing import Any

import dagster as dg

from icd_assets.defs.assets.resources import SharedResource
from icd_assets.defs.assets.step_asset import OWNERS, failing_in_words
from icd_assets.defs.runs.step_process import enter_process
from icd_assets.lineage.trace import consumed, trace
from icd_assets.runtime.locks import Holder
from icd_assets.store.atomic import remove_torn, write_atomic
from icd_assets.store.digests import sha256_json
from icd_assets.store.manifest import Manifest
from icd_assets.store.names import MANIFEST
from icd_assets.store.store import Store


@dg.asset(
    deps=["evaluation"],
    description="Every cell: its recommended checkpoint, the RL data behind it, and its accuracy or CIDEr.",
    code_version="2",
    kinds={"table"},
    group_name="icd",
    owners=OWNERS,
)
def leaderboard(context: dg.AssetExecutionContext, shared: SharedResource) -> dg.MaterializeResult[Any]:
    """Read the manifests of checkpoints and evaluations under the results root; nothing is computed."""
    enter_process(context)
    run_id, holder = context.run.run_id, Holder("leaderboard", context.run.run_id)
    # Locked from the look at the manifests on: who looked first must not write last.
    with (
        failing_in_words(shared.store, "the leaderboard") as store,
        store.lock(path := store.root / "leaderboard.json", holder),
    ):
        remove_torn(path)
        rows = [_row(store, *pair) for pair in _pairs(store)]
        rows.sort(key=lambda row: (row["dataset"], -(row["score"] or 0), row["sampler_model"]))
        store.mark_unrecorded(run_id, None)
        write_atomic(path, (json.dumps(rows, indent=1) + "\n").encode())
    records = [dg.TableRecord({k: "–" if v is None else v for k, v in row.items()}) for row in rows]
    return dg.MaterializeResult(
        data_version=dg.DataVersion(sha256_json(rows)[:16]),
        metadata={
            "dagster/row_count": len(rows),
            "leaderboard": dg.MetadataValue.table(records=records) if records else "no cell is trained yet",
            "path": dg.MetadataValue.path(str(path)),
        },
    )


# What a cell may recommend, the last of a recipe first.
_RECOMMENDED = ("rl_selector", "sequence_selector", "singles_selector", "v2format_checkpoint")


def _pairs(store: Store) -> Iterator[tuple[Manifest | None, Manifest | None]]:
    """(recommended checkpoint, evaluation) of each cell and experiment; one of the two may be missing."""
    checkpoints = {asset: _by_name(store, "model_cpk", asset) for asset in _RECOMMENDED}
    evaluations = _by_name(store, "icl_inference", "evaluation")
    for name in sorted({*evaluations, *(name for found in checkpoints.values() for name in found)}):
        own = {asset: found[name] for asset, found in checkpoints.items() if name in found}
        evaluation = evaluations.get(name)
        if evaluation is not None:
            yield own.get(_evaluated(evaluation)), evaluation
        else:
            yield max(own.values(), key=lambda made: made.created_at), None


def _evaluated(evaluation: Manifest) -> str:
    """The asset that an evaluation recommends."""
    return next(asset for asset in _RECOMMENDED if asset in evaluation.spec.inputs)


def _by_name(store: Store, kind: str, asset: str) -> dict[tuple[str, str], Manifest]:
    """By (dataset, folder): checkpoints and evaluation of a cell lie in folders of one name."""
    found = {}
    for path in store.root.glob(f"*/{kind}/*/{asset}{MANIFEST}"):
        found[path.parts[-4], path.parent.name] = store.require(path, asset)
    return found


def _row(store: Store, checkpoint: Manifest | None, evaluation: Manifest | None) -> dict[str, Any]:
    asset = _evaluated(evaluation) if evaluation else None
    evaluated = consumed(store, asset, evaluation.spec.inputs[asset]) if evaluation and asset else None
    shown = checkpoint or evaluated
    known = checkpoint or evaluation
    assert known is not None
    rl_data = trace(store, shown, "rl_data") if shown else None
    dataset, rest = known.cell.split("|")
    facts = evaluation.facts if evaluation else {}
    metric = facts.get("metric", "accuracy")  # evaluations of before captions do not say
    score = facts.get(f"recommended_{metric}")
    return {
        "dataset": dataset,
        "sampler_model": rest,
        "metric": metric if evaluation else None,
        "score": None if score is None else round(score, 4),
        "score_of": _whose(checkpoint, evaluation),
        "shots": facts.get("compare_shots"),
        "questions": facts.get("rows"),
        "rl_data_version": rl_data.data_version if rl_data else "unknown",
        "rl_data_run": rl_data.run_id if rl_data else None,
        "recommended": shown.files[0].path if shown else "unknown",
        "evaluated_at": evaluation.created_at if evaluation else None,
    }


def _whose(checkpoint: Manifest | None, evaluation: Manifest | None) -> str:
    """Whether the score is that of the checkpoint beside it, or of one that was made again since."""
    if evaluation is None:
        return "not evaluated yet"
    if checkpoint is None:
        return "a checkpoint that was removed"
    if evaluation.spec.digests[checkpoint.spec.asset] == checkpoint.data_version:
        return "this checkpoint"
    return "an earlier checkpoint"
