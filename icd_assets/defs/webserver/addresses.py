"""Where a cell's pages are in the UI, as links from one of its pages to another: without a host."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from icd_assets.experiment.experiment import Experiment


def asset_address(asset: str, cell_key: str) -> str:
    """An asset's page, with one cell opened."""
    return f"/assets/{quote(asset)}?{urlencode({'view': 'partitions', 'partition': cell_key})}"


def run_address(run_id: str) -> str:
    return f"/runs/{quote(run_id, safe='')}"


def report_address(experiment: Experiment) -> str:
    """The report of an experiment, which :mod:`~icd_assets.defs.webserver.reports` serves."""
    cell = experiment.cell
    path = "/".join(quote(part, safe="") for part in (cell.dataset, cell.sampler, cell.model))
    return f"/cells/{path}/report?{urlencode({'folder': experiment.paths.evaluation.name})}"
