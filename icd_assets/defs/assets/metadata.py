"""What the event of an artifact shows in the UI."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from icd_assets.assets.build import shown
from icd_assets.assets.figures import Markdown, Table
from icd_assets.defs.assets.units import with_unit
from icd_assets.defs.webserver.addresses import asset_address, report_address, run_address
from icd_assets.experiment.experiment import Experiment
from icd_assets.lineage.trace import consumed, trace
from icd_assets.runtime.provenance import MODEL_SERVER
from icd_assets.store.manifest import Input, Manifest

# What shares its folder with the evaluation that a report is about, and how the report is called beside it.
_BESIDE = "of its cell, once it is evaluated"
_REPORTED = {
    "evaluation": "every question, what was chosen for it, curves, lineage",
    **dict.fromkeys(("singles_selector", "sequence_selector", "rl_selector"), _BESIDE),
    **dict.fromkeys(("rce_checkpoints", "grpo_checkpoints", "v2format_checkpoint"), _BESIDE),
}


def metadata(asset: str, manifest: Manifest, experiment: Experiment) -> dict[str, Any]:
    """First what it came to and the pages it was made from, then numbers, then digests."""
    inputs = _inputs(manifest, experiment)
    return {
        **_report(asset, experiment),
        **{name: _drawn(value) for name, value in shown(asset, manifest.facts).items()},
        **_made_from(inputs, manifest, experiment),
        **_facts(asset, manifest.facts),
        "path": _path(manifest, experiment),
        **_trackers(manifest),
        **_origin(manifest),
        **_digests(inputs, manifest),
    }


def _report(asset: str, experiment: Experiment) -> dict[str, Any]:
    if asset not in _REPORTED:
        return {}
    return {"report": dg.MetadataValue.md(f"[{_REPORTED[asset]}]({report_address(experiment)})")}


def _trackers(manifest: Manifest) -> dict[str, dg.MetadataValue[Any]]:
    """Where each tracker shows the run."""
    links, value = manifest.tracker_links.items(), dg.MetadataValue
    return {f"tracker/{name}": value.url(at) if at.startswith("http") else value.text(at) for name, at in links}


def _facts(asset: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    drawn = shown(asset, facts)
    found: dict[str, Any] = {}
    for name, value in facts.items():
        if name == "rows":
            found["dagster/row_count"] = value
        elif name not in drawn and isinstance(value, str | bool):
            found[name] = value
        elif name not in drawn and isinstance(value, int | float):
            found[with_unit(name)] = round(value, 4) if isinstance(value, float) else value
    return found


def _drawn(value: Markdown | Table) -> dg.MetadataValue[Any]:
    if isinstance(value, Table):
        return dg.MetadataValue.table(records=[dg.TableRecord(dict(row)) for row in value.rows])
    return dg.MetadataValue.md(value.text)


def _path(manifest: Manifest, experiment: Experiment) -> dg.MetadataValue[Any]:
    there = next(record for record in manifest.files if record.pruned is None)
    return dg.MetadataValue.path(str(experiment.store.resolve(there)))


def _inputs(manifest: Manifest, experiment: Experiment) -> dict[str, Input]:
    inputs = dict(manifest.spec.inputs)
    if (rl_data := trace(experiment.store, manifest, "rl_data")) is not None:
        inputs["rl_data"] = rl_data  # from a checkpoint and its evaluation, one click to the data it learned from
    return inputs


def _made_from(inputs: Mapping[str, Input], manifest: Manifest, experiment: Experiment) -> dict[str, Any]:
    """Each artifact that was read, by its name, with its page and its run; and whose answers are in it."""
    found: dict[str, Any] = {}
    for name, given in inputs.items():
        asset = name.partition(".")[0]
        if given.manifest is not None:
            made = consumed(experiment.store, asset, given)
            found[asset] = dg.MetadataValue.md("".join(_sentence(asset, given, made, manifest.cell)))
    if manifest.vlm:
        found["vlm"] = experiment.model.name
    return found


def _sentence(asset: str, given: Input, made: Manifest | None, cell_key: str) -> Iterator[str]:
    """What was read, as it was then; ``made``: its manifest, None where none is left."""
    key = cell_key if made is None else made.cell
    yield f"[{_escaped(key.replace('|', ' | ').replace('/', ' | '))}]({asset_address(asset, key)})"
    if made is not None and (size := _size(made)) is not None:
        yield f", {size}"
    if given.created_at is not None:
        yield f", made {given.created_at[:16].replace('T', ' ')} UTC"
    if given.run_id is not None:
        yield f" by run [{_escaped(given.run_id[:8])}]({run_address(given.run_id)})"


def _size(made: Manifest) -> str | None:
    for name, words in (("epochs", "epochs"), ("rows", "queries")):
        if isinstance(count := made.facts.get(name), int):
            return f"{count:,} {'questions' if made.spec.asset == 'embeddings' else words}"
    return None


def _escaped(text: str) -> str:
    """For Markdown: a name of the catalog may hold what means something there."""
    return re.sub(r"([\\`*_\[\]<>&|])", r"\\\1", text)


def _digests(inputs: Mapping[str, Input], manifest: Manifest) -> dict[str, Any]:
    """What tells versions apart, for who compares."""
    found: dict[str, Any] = {}
    for name, given in inputs.items():
        found[f"{name}/data_version"] = given.data_version[:16]
        if given.run_id is not None:
            found[f"{name}/run"] = dg.MetadataValue.dagster_run(given.run_id)
    if manifest.vlm:
        found["vlm/digest"] = ", ".join(digest[:16] for digest in manifest.vlm)
    return found


def _origin(manifest: Manifest) -> dict[str, Any]:
    if manifest.run_id is None:
        return {"origin": manifest.origin, "unknown": ", ".join(manifest.unknown)}
    return {
        "origin": manifest.origin,
        "made_by_run": dg.MetadataValue.dagster_run(manifest.run_id),
        "seconds": manifest.seconds,
        "device": manifest.environment["device"],
        **{name: manifest.environment[name] for name in MODEL_SERVER if name in manifest.environment},
        "config": dg.MetadataValue.json(manifest.spec.config),
    }
