"""What the event of an artifact shows in the UI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import dagster as dg

from icd_assets.assets.build import shown
from icd_assets.assets.figures import Markdown, Table
from icd_assets.experiment.experiment import Experiment
from icd_assets.lineage.trace import trace
from icd_assets.store.manifest import Input, Manifest

# By the first words of a number's name.
_UNITS = {
    "accuracy": "share",
    "candidates": "pointers",
    "frac": "share",
    "mean_reward": "reward units",
    "pool_size": "candidates",
    "recommended_accuracy": "share",
    "train_rows": "questions",
    "val_expected_reward": "reward units",
    "val_first_pick": "share of queries",
    "val_loss": "nats",
    "width": "dimensions",
}


def metadata(asset: str, manifest: Manifest, experiment: Experiment) -> dict[str, Any]:
    """First what was made, then the exact upstream runs, then the config."""
    return {
        **_facts(asset, manifest.facts),
        "path": _path(manifest, experiment),
        **_inputs(manifest, experiment),
        **_origin(manifest),
        **_trackers(manifest),
    }


def _facts(asset: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {name: _drawn(value) for name, value in shown(asset, facts).items()}
    for name, value in facts.items():
        if name == "rows":
            found["dagster/row_count"] = value
        elif name not in found and isinstance(value, int | float | str):
            found[_with_unit(name)] = round(value, 4) if isinstance(value, float) else value
    return found


def _with_unit(name: str) -> str:
    """The name that stands beside a number, with what it counts where the name alone does not say."""
    kind = next((begin for begin in _UNITS if name == begin or name.startswith((f"{begin}_", f"{begin} "))), None)
    return name if kind is None else f"{name} ({_UNITS[kind]})"


def _drawn(value: Markdown | Table) -> dg.MetadataValue[Any]:
    if isinstance(value, Table):
        return dg.MetadataValue.table(records=[dg.TableRecord(dict(row)) for row in value.rows])
    return dg.MetadataValue.md(value.text)


def _path(manifest: Manifest, experiment: Experiment) -> dg.MetadataValue[Any]:
    there = next(record for record in manifest.files if record.pruned is None)
    return dg.MetadataValue.path(str(experiment.store.resolve(there)))


def _inputs(manifest: Manifest, experiment: Experiment) -> dict[str, Any]:
    inputs = dict(manifest.spec.inputs)
    if (rl_data := trace(experiment.store, manifest, "rl_data")) is not None:
        inputs["rl_data"] = rl_data  # from a checkpoint and its evaluation, one click to the data it learned from
    found: dict[str, Any] = {}
    for name, given in inputs.items():
        if given.manifest is not None:
            found[name] = _made(name, given, experiment)
        found[f"{name}/data_version"] = given.data_version[:16]
        if given.run_id is not None:
            found[f"{name}/run"] = dg.MetadataValue.dagster_run(given.run_id)
    if manifest.vlm:
        found["vlm"] = ", ".join(digest[:16] for digest in manifest.vlm)
    return found


def _made(name: str, given: Input, experiment: Experiment) -> dg.MetadataValue[Any]:
    """What was read, by name, as a link to its page and partition; when it was made stands beside it."""
    asset = name.partition(".")[0]
    page = f"/assets/{asset}?partition={quote(experiment.cell.key, safe='')}"
    made = "" if given.created_at is None else f", made {given.created_at[:16].replace('T', ' ')}"
    shown = str(experiment.cell).replace("|", "\\|")
    return dg.MetadataValue.md(f"[{asset} of {shown}]({page}){made}")


def _origin(manifest: Manifest) -> dict[str, Any]:
    if manifest.run_id is None:
        return {"origin": manifest.origin, "unknown": ", ".join(manifest.unknown)}
    return {
        "origin": manifest.origin,
        "made_by_run": dg.MetadataValue.dagster_run(manifest.run_id),
        "seconds": manifest.seconds,
        "device": manifest.environment["device"],
        "config": dg.MetadataValue.json(manifest.spec.config),
    }


def _trackers(manifest: Manifest) -> dict[str, dg.MetadataValue[Any]]:
    """Where each tracker shows the run."""
    links, value = manifest.tracker_links.items(), dg.MetadataValue
    return {f"tracker/{name}": value.url(at) if at.startswith("http") else value.text(at) for name, at in links}
