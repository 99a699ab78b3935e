"""``icd-assets status`` and ``why``: what is fresh, stale, missing or running, in every cell, and the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from icd_assets.cli.cell_arguments import GpuCommand
from icd_assets.cli.cells import cell_of
from icd_assets.cli.json_output import json_option, print_json
from icd_assets.cli.options import setting_options
from icd_assets.cli.remote import remote_option, require_no, show_status
from icd_assets.cli.screen import console
from icd_assets.cli.session import Session
from icd_assets.cli.status_table import lines
from icd_assets.experiment.catalog import Catalog
from icd_assets.experiment.cell import Cell
from icd_assets.experiment.plan import require_assets
from icd_assets.experiment.settings import Settings
from icd_assets.experiment.steps import STEP
from icd_assets.lineage.there import under
from icd_assets.runtime.foreign import printable
from icd_assets.tasks import TASKS
from icd_assets.upkeep.status import AssetStatus, CellStatus, Survey
from icd_assets.upkeep.why import Cause, causes, fresh

STATUS_SCHEMA = 2  # 1 was called status_schema
WHY_SCHEMA = 1
_OF_A_MANIFEST = ("origin", "data_version", "run_id", "created_at")


@click.command(
    cls=GpuCommand,
    short_help="What is fresh, stale, missing or running, in every cell.",
    examples=(
        "icd-assets status",
        "icd-assets status okvqa --reward-mode legacy",
        "icd-assets status demo rand_sampler tiny_vl --json",
        "icd-assets status --remote s3://our-bucket/okvqa",
    ),
)
@click.argument("words", nargs=-1, metavar="[CELL | DATASET [SAMPLER [MODEL]]]")
@setting_options
@click.option("--all", "everything", is_flag=True, help="Also cells that have nothing yet.")
@remote_option
@json_option
def status(
    words: tuple[str, ...], settings: Settings, everything: bool, remote: str | None, as_json: bool
) -> None:
    """All cells × assets: fresh, stale, missing (–), not in the recipe (·), unknown (?), running, adopted.

    Judged under the settings of environment and flags, as `icd-assets train` would: what was made with others is
    stale. Below a cell stand its experiments in other places (another reward, name or number of shots), each with
    the flags that mean it. With --remote: which artifacts are here, there, or both.
    """
    session = Session.here(settings)
    if remote is not None:
        require_no({"--all": everything})
        show_status(session, remote, words, as_json=as_json)
        return
    survey = Survey(session.store, session.catalog, session.settings)
    found = list(survey.cells(_chosen(session.catalog, words), empty=everything))
    if as_json:
        print_json(STATUS_SCHEMA, _document(session, survey, found))
        return
    if not found:
        console.print(f"nothing is made yet under {session.store.root}")
    else:
        for line in lines(found, console.width):
            console.print(line)
        for sentence in _reasons(found):
            console.print(printable(sentence))
    for key in survey.not_in_catalog():
        console.print(printable(f"{key}: not in the catalog of today"))


@click.command(
    cls=GpuCommand,
    short_help="Why one artifact would be made again, or not.",
    examples=(
        "icd-assets why rl_data demo rand_sampler tiny_vl",
        "icd-assets why evaluation 'demo|RandSampler/tiny_vl' --grpo-epochs 3",
    ),
)
@click.argument("asset")
@click.argument("cell", nargs=-1, required=True)
@setting_options
@json_option
def why(asset: str, cell: tuple[str, ...], settings: Settings, as_json: bool) -> None:
    """Why ASSET of CELL would be made again (or not): each setting, input and file that differs.

    Judged under the settings of environment and flags; the cell's experiments in other places are named.
    """
    require_assets(asset, ())
    session = Session.here(settings)
    survey = Survey(session.store, session.catalog, session.settings)
    found = survey.status(session.cell(cell))
    (one,) = [one for one in found.assets if one.asset == asset]
    found_causes = list(causes(found, asset))
    elsewhere = [(other.flags, other.state(asset)) for other in survey.others(found)]
    if as_json:
        print_json(WHY_SCHEMA, _why_document(found, one, found_causes, elsewhere))
        return
    if found.problem is not None:
        console.print(printable(f"{found.problem} Judged without it:"))
    console.print(f"{asset} of {found.cell}: {one.state}")
    if one.state == "fresh" and one.manifest is not None:
        console.print(printable(fresh(one.manifest)))
    elif one.state == "left out":
        console.print(STEP[asset].left_out(found.experiment) or "")
    for cause in found_causes:
        console.print(printable(f"  {cause.asset}: {cause.sentence}"))
    for flags, state in elsewhere:
        console.print(printable(f"{under(flags)}: {state}"))


def _chosen(catalog: Catalog, words: Sequence[str]) -> list[Cell]:
    """The cell that is named, or those that fit a dataset, and a sampler, and a model."""
    if words and ("|" in words[0] or words[0] in TASKS or len(words) > 2):
        return [cell_of(catalog, words)]
    any_cell = catalog.cells[0]
    dataset, sampler = [*words, None, None][:2]
    fitting = catalog.cell(dataset or any_cell.dataset, sampler or any_cell.sampler, any_cell.model)
    return [
        cell
        for cell in catalog.cells
        if (dataset is None or cell.dataset == fitting.dataset)
        and (sampler is None or cell.sampler == fitting.sampler)
    ]


def _reasons(found: Sequence[CellStatus]) -> list[str]:
    """Per cell what is first at fault: what comes after it follows from it. What a cell's experiments share is
    said once."""
    sentences = []
    for one in found:
        if one.problem is not None:
            sentences.append(f"{one.cell}: {one.problem} It is judged without it.")
        for asset in one.assets:
            name = f"{one.cell} {one.flags}".rstrip()
            if asset.writer is not None:
                sentences.append(f"{name}: {asset.asset} is being made by {asset.writer}")
            elif asset.state in ("stale", "unjudged") and not str(asset.reason).startswith("after "):
                same = f"{one.cell}: {asset.asset}: {asset.reason}"
                if same not in sentences:
                    sentences.append(f"{name}: {asset.asset}: {asset.reason}")
    return sentences


def _document(session: Session, survey: Survey, found: Sequence[CellStatus]) -> dict[str, Any]:
    return {
        "results_root": str(session.store.root),
        "settings": session.settings.model_dump(mode="json"),
        "cells": {str(one.cell): _of_assets(one) for one in found if not one.flags},
        "others": [
            {"cell": str(one.cell), "flags": one.flags, "assets": _of_assets(one)} for one in found if one.flags
        ],
        "problems": {str(one.cell): one.problem for one in found if one.problem is not None},
        "not_in_catalog": survey.not_in_catalog(),
    }


def _of_assets(one: CellStatus) -> dict[str, Any]:
    return {asset.asset: _of_asset(asset) for asset in one.assets}


def _of_asset(one: AssetStatus) -> dict[str, Any]:
    shown = {name: value for name, value in asdict(one).items() if name not in ("asset", "manifest")}
    manifest = one.manifest
    for name in _OF_A_MANIFEST:
        shown[name] = getattr(manifest, name) if manifest is not None else None
    shown["pruned"] = [r.path for r in manifest.files if r.pruned] if manifest is not None else []
    return shown


def _why_document(
    found: CellStatus, one: AssetStatus, found_causes: Sequence[Cause], elsewhere: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    return {
        "cell": str(found.cell),
        "asset": one.asset,
        **_of_asset(one),
        "problem": found.problem,
        "causes": [asdict(cause) for cause in found_causes],
        "others": [{"flags": flags, "state": state} for flags, state in elsewhere],
    }
