"""``icd-assets adopt``: take a Lever-Plus results folder as it is, and go on training from it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from icd_assets.cli.echo import echo
from icd_assets.cli.help import Command
from icd_assets.cli.json_output import json_option, print_json
from icd_assets.cli.options import setting_options
from icd_assets.cli.place import Place
from icd_assets.cli.screen import console
from icd_assets.defs.runs.instance import enter_home, open_instance
from icd_assets.experiment.catalog import Catalog
from icd_assets.experiment.experiment import results_root
from icd_assets.experiment.settings import Settings
from icd_assets.lever_plus.adopt import Adoption, Finding
from icd_assets.runtime.foreign import printable

if TYPE_CHECKING:
    import dagster as dg

_DATA_VERSION = "dagster/data_version"
_RECORDS_READ = 100  # of one artifact of one cell
_ODD_FACTS = (StopIteration, TypeError, ValueError, LookupError, AttributeError)
SCHEMA = 1
_WORDS = {"adopted": "adopted", "already": "already", "refused": "refused", "left": "left alone"}


@click.command(
    cls=Command,
    short_help="Take over what Lever-Plus left, where it lies.",
    examples=(
        "icd-assets adopt ~/Lever-Plus/results --dry-run",
        "icd-assets adopt ~/Lever-Plus/results --reward-mode legacy",
    ),
)
@click.argument("results_dir", type=Place())
@setting_options
@click.option("--dry-run", is_flag=True, help="Look and report, and register nothing.")
@click.option(
    "--v2",
    multiple=True,
    metavar="PATH",
    type=Place(),
    help="Of several v2 checkpoints of a cell, take this one; may be given once per cell.",
)
@json_option
def adopt(results_dir: Path, settings: Settings, dry_run: bool, v2: tuple[Path, ...], as_json: bool) -> None:
    """Register what Lever-Plus left in RESULTS_DIR, so that training goes on from it.

    Every file that can be an artifact is read, strictly; what passes gets a manifest beside it and is shown in the
    UI as materialized. No file of yours is moved, changed or removed. What is adopted counts as up to date,
    whatever the settings say, until its bytes change or --force ASSET makes it anew.
    """
    root, chosen = results_dir.absolute(), tuple(path.absolute() for path in v2)
    enter_home()
    adoption = Adoption(root, Catalog.load(), settings, chosen, dry_run)
    if as_json:
        found = list(adoption.run())
        if not dry_run:
            _record(adoption)
        print_json(SCHEMA, _document(root, found, dry_run))
        return
    counts = dict.fromkeys(_WORDS, 0)
    for line, finding, count in _lines(adoption.run(), root, dry_run):
        console.print(line)
        counts[finding.outcome] += count
    counted = ", ".join(f"{count} {_WORDS[outcome]}" for outcome, count in counts.items() if count)
    console.print(f"\n{'(dry run) ' if dry_run else ''}{counted or 'nothing of Lever-Plus was found'}")
    if not dry_run:
        _record(adoption)
    if root.resolve() != results_root().resolve():
        console.print(f"to go on from here:  export RESULT_DIR={shlex.quote(str(root))}")


def _lines(findings: Iterable[Finding], root: Path, dry_run: bool) -> Iterator[tuple[str, Finding, int]]:
    """One per artifact; files of one folder that are left alone for one reason are one line."""

    def key(finding: Finding) -> object:
        alone = finding.outcome == "left"
        return (finding.paths[0].parent, finding.why, finding.asset) if alone else finding

    for _, group in groupby(findings, key):
        alike = list(group)
        first = alike[0]
        paths = [path for finding in alike for path in finding.paths]
        word = "would adopt" if dry_run and first.outcome == "adopted" else _WORDS[first.outcome]
        where = printable(str(paths[0].relative_to(root)))
        more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        why = printable(first.why.replace(f"{root}/", "").removeprefix(f"{paths[0].relative_to(root)}: "))
        yield f"{word:<12} {first.asset or '–':<17} {where}{more}: {why}", first, len(alike)


def _document(root: Path, found: list[Finding], dry_run: bool) -> dict[str, Any]:
    return {
        "results_root": str(root),
        "dry_run": dry_run,
        "counts": {outcome: sum(one.outcome == outcome for one in found) for outcome in _WORDS},
        "findings": [
            {"outcome": one.outcome, "asset": one.asset, "paths": list(map(str, one.paths)), "why": one.why}
            for one in found
        ],
    }


def _record(adoption: Adoption) -> None:
    """Tell Dagster of every adopted artifact that it does not know yet, inputs before what was made of them."""
    import dagster as dg

    from icd_assets.defs.assets.metadata import metadata
    from icd_assets.defs.runs.known_cells import add_cells

    with open_instance() as home:
        adopted = [found for dataset in adoption.catalog.datasets for found in adoption.adopted(dataset)]
        there = {manifest.cell for _, _, manifest in adopted}  # others share an artifact of these, and have none
        add_cells(home, there)
        for experiment, asset, manifest in adopted:
            cell = experiment.cell
            if cell.key not in there:
                continue
            if manifest.data_version in _known_versions(home, asset, cell.key):
                continue
            try:
                shown = metadata(asset, manifest, experiment)
            except _ODD_FACTS:  # of a manifest that was changed by hand; the others are recorded
                path = experiment.manifest_path(asset)
                echo(
                    f"{path} does not say what ours say; delete it and adopt again to see it in the UI.", err=True
                )
                continue
            home.report_runless_asset_event(
                dg.AssetMaterialization(
                    asset,
                    partition=cell.key,
                    metadata=shown,
                    tags={_DATA_VERSION: manifest.data_version},
                )
            )


def _known_versions(home: dg.DagsterInstance, asset: str, key: str) -> set[str]:
    """Of an artifact that Dagster knows: a cell with several v3 folders has several, each in its turn."""
    import dagster as dg

    filter_ = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[key])
    records = home.fetch_materializations(filter_, limit=_RECORDS_READ).records
    events = (record.asset_materialization for record in records)
    return {(event.tags or {}).get(_DATA_VERSION, "") for event in events if event is not None}
