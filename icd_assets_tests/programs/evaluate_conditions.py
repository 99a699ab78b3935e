"""Prints, a line each, the assets that the catalog's automation condition requests after each change of data."""

from typing import Any

import dagster as dg

from icd_assets.definitions import defs
from icd_assets.defs.runs.known_cells import add_cells

PARTITION = "demo|RandSampler/tiny_vl"


def report(instance: dg.DagsterInstance, asset: str, version: str) -> None:
    event = dg.AssetMaterialization(asset, partition=PARTITION, tags={"dagster/data_version": version})
    instance.report_runless_asset_event(event)


def evaluate(instance: dg.DagsterInstance, cursor: Any) -> tuple[Any, list[str]]:
    result = dg.evaluate_automation_conditions(defs, instance, cursor=cursor)
    assets = {key.to_user_string() for key in (r.key for r in result.results) if result.get_num_requested(key)}
    return result.cursor, sorted(assets)


with dg.DagsterInstance.ephemeral() as instance:
    add_cells(instance, [PARTITION])
    report(instance, "candidate_pools", "one")
    cursor, first = evaluate(instance, None)
    print(first)
    report(instance, "beam_data", "b1")
    cursor, _ = evaluate(instance, cursor)
    report(instance, "candidate_pools", "one")
    cursor, same = evaluate(instance, cursor)
    print(same)
    report(instance, "candidate_pools", "two")
    cursor, changed = evaluate(instance, cursor)
    print(changed)
