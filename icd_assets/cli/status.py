"""``icd-assets status`` and ``why``: what is fresh, stale, missing or running, in every cell, and the reason."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from icd_assets.cli.help import Command
from icd_assets.cli.options import setting_options
from icd_assets.cli.screen import console
from icd_assets.cli.session import Session
from icd_assets.cli.tree import printable
from icd_assets.errors import UserError
from icd_assets.experiment.catalog import Catalog
from icd_assets.experiment.cell import Cell
from icd_assets.experiment.settings import Settings
from icd_assets.experiment.steps import STEP, STEPS
from icd_assets.upkeep.status import AssetStatus, CellStatus, Survey
from icd_assets.upkeep.why import causes, fresh

_SHOWN = {"missing": "–", "left out": "·", "unjudged": "?"}


@click.command(
    cls=Command,
    short_help="What is fresh, stale, missing or running, in every cell.",
    examples=(
        "icd-assets status",
        "icd-assets status okvqa --reward-mode legacy",
        "icd-assets status demo rand_sampler tiny_vl --json",
    ),
)
@click.argument("dataset", required=False)
@click.argument("sampler", required=False)
@click.argument("model", required=False)
@setting_options
@click.option("--all", "everything", is_flag=True, help="Also cells that have nothing yet.")
@click.option("--json", "as_json", is_flag=True, help="The table as one JSON document.")
def status(
    dataset: str | None,
    sampler: str | None,
    model: str | None,
    settings: Settings,
    everything: bool,
    as_json: bool,
) -> None:
    """All cells × assets: fresh, stale, missing, running, adopted; under the settings of environment and flags.

    Artifacts made with other settings are stale here, as they would be for `icd-assets train` with these.
    """
    session = Session.here(settings)
    survey = Survey(session.store, session.catalog, session.settings)
    found = list(survey.cells(_chosen(session.catalog, dataset, sampler, model), empty=everything))
    if as_json:
        click.echo(json.dumps(_document(session, survey, found), indent=1))
        return
    if not found:
        console.print(f"nothing is made yet under {session.store.root}", markup=False)
    else:
        console.print(_table(found))
        for line in _reasons(found):
            console.print(printable(line), markup=False)
    for key in survey.not_in_catalog():
        console.print(printable(f"{key}: not in the catalog of today"), markup=False)


@click.command(
    cls=Command,
    short_help="Why one artifact would be made again, or not.",
    examples=(
        "icd-assets why rl_data demo rand_sampler tiny_vl",
        "icd-assets why evaluation 'demo|RandSampler/tiny_vl' --grpo-epochs 3",
    ),
)
@click.argument("asset")
@click.argument("cell", nargs=-1, required=True)
@setting_options
def why(asset: str, cell: tuple[str, ...], settings: Settings) -> None:
    """Why ASSET of CELL would be made again (or not): each setting, input and file that differs."""
    if asset not in STEP:
        raise UserError(f"there is no asset {asset!r}; valid: {', '.join(STEP)}.")
    session = Session.here(settings)
    found = Survey(session.store, session.catalog, session.settings).status(session.cell(cell))
    (one,) = [one for one in found.assets if one.asset == asset]
    console.print(f"{asset} of {found.cell}: {one.state}", markup=False)
    if one.state == "fresh" and one.manifest is not None:
        console.print(printable(fresh(one.manifest)), markup=False)
    elif one.state == "left out":
        console.print(STEP[asset].left_out_because)
    for cause in causes(found, asset):
        console.print(printable(f"  {cause.asset}: {cause.sentence}"), markup=False)


def _chosen(catalog: Catalog, dataset: str | None, sampler: str | None, model: str | None) -> list[Cell]:
    """The cells that fit the names given; a partition key as the first names one cell."""
    if dataset is not None and "|" in dataset:
        try:
            named = Cell.parse(dataset)
        except ValueError as error:
            raise UserError(f"{error}; write it like 'okvqa|RandSampler/Qwen2_5-VL-3B-Instruct'.") from None
        dataset, sampler, model = named.dataset, named.sampler, named.model
    any_cell = catalog.cells[0]
    fitting = catalog.cell(dataset or any_cell.dataset, sampler or any_cell.sampler, model or any_cell.model)
    return [
        cell
        for cell in catalog.cells
        if (dataset is None or cell.dataset == fitting.dataset)
        and (sampler is None or cell.sampler == fitting.sampler)
        and (model is None or cell.model == fitting.model)
    ]


def _table(found: Sequence[CellStatus]) -> Table:
    table = Table("cell", *(step.title for step in STEPS), box=None, pad_edge=False, header_style="bold")
    for one in found:
        table.add_row(Text(str(one.cell)), *(_mark(asset) for asset in one.assets))
    return table


def _mark(one: AssetStatus) -> Text:
    shown = _SHOWN.get(one.state, one.state)
    if one.state == "fresh" and one.manifest is not None and one.manifest.origin != "made":
        shown = one.manifest.origin
    style = {"stale": "yellow", "running": "cyan", "fresh": "green", "unjudged": "yellow"}.get(one.state, "")
    return Text(printable(shown), style)


def _reasons(found: Sequence[CellStatus]) -> list[str]:
    """Per cell what is first at fault: what comes after it follows from it."""
    lines = []
    for one in found:
        for asset in one.assets:
            if asset.writer is not None:
                lines.append(f"{one.cell}: {asset.asset} is being made by {asset.writer}")
            elif asset.state in ("stale", "unjudged") and not str(asset.reason).startswith("after "):
                lines.append(f"{one.cell}: {asset.asset}: {asset.reason}")
    return lines


def _document(session: Session, survey: Survey, found: Sequence[CellStatus]) -> dict[str, Any]:
    return {
        "status_schema": 1,
        "results_root": str(session.store.root),
        "settings": session.settings.model_dump(mode="json"),
        "cells": {str(one.cell): {asset.asset: _of_asset(asset) for asset in one.assets} for one in found},
        "not_in_catalog": survey.not_in_catalog(),
    }


def _of_asset(one: AssetStatus) -> dict[str, Any]:
    shown = {name: value for name, value in asdict(one).items() if name not in ("asset", "manifest")}
    manifest = one.manifest
    for name in ("origin", "data_version", "run_id", "created_at"):
        shown[name] = getattr(manifest, name) if manifest is not None else None
    shown["pruned"] = [r.path for r in manifest.files if r.pruned] if manifest is not None else []
    return shown
