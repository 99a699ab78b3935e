"""``/cells/DATASET/SAMPLER/MODEL/report``: the report of a cell, made when it is asked for.

``?folder=`` names one of a cell's experiments by its folder; without it the one that was evaluated last is shown.
"""

from __future__ import annotations

import re
from functools import lru_cache
from glob import escape
from html import unescape
from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from icd_assets.errors import UserError
from icd_assets.experiment.catalog import Catalog
from icd_assets.experiment.cell import Cell
from icd_assets.experiment.experiment import results_root
from icd_assets.experiment.paths import v3_prefix
from icd_assets.lineage.as_made import as_made
from icd_assets.store.manifest import Manifest
from icd_assets.store.names import manifest_in
from icd_assets.store.store import Store

_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">')
_KEPT = 8  # pages in memory, of a few megabytes each


def report_route(prefix: str = "") -> Route:
    return Route(f"{prefix}/cells/{{dataset}}/{{sampler}}/{{model}}/report", _report)


def _report(request: Request) -> Response:
    """Starlette runs it in a thread: reading an evaluation takes seconds."""
    parts, folder = request.path_params, request.query_params.get("folder")
    try:
        catalog, store = Catalog.load(), Store(results_root())
        cell = Cell(parts["dataset"], parts["sampler"], parts["model"])
        if cell not in catalog.cells:
            raise UserError(
                f"{cell.key[:80]!r} is no cell of the catalog; its models and datasets name the cells."
            )
        path, manifest = _evaluation(store, cell, folder)
        page = _page(str(path), manifest.data_version)
    except UserError as error:
        return PlainTextResponse(f"{error}\n", 404, {"X-Content-Type-Options": "nosniff"})
    return HTMLResponse(page, headers=_headers(page))


def _evaluation(store: Store, cell: Cell, folder: str | None) -> tuple[Path, Manifest]:
    """Among those that are there: a name that was sent is compared, and never becomes a path."""
    found = []
    for path in sorted((store.root / cell.dataset / "icl_inference").glob(f"{escape(v3_prefix(cell))}*")):
        manifest = store.read(manifest_in(path, "evaluation")) if folder in (None, path.name) else None
        if manifest is not None and manifest.cell == cell.key:
            found.append((manifest.created_at, manifest_in(path, "evaluation"), manifest))
    if not found:
        which = "" if folder is None else f" in a folder {folder[:80]!r}"
        raise UserError(f"{cell} has no evaluation{which}; make one: icd-assets train.")
    _, path, manifest = max(found)
    return path, manifest


@lru_cache(maxsize=_KEPT)
def _page(path: str, data_version: str) -> str:
    """Of one evaluation the page stays the same; ``data_version`` is asked for to tell a new one."""
    from icd_assets.report.cell_report import render

    return render(as_made(Store(results_root()), Path(path), Catalog.load()))


def _headers(page: str) -> dict[str, str]:
    """The page's own policy as a header too, where alone it can forbid frames."""
    own = _POLICY.search(page)
    policy = unescape(own[1]) if own is not None else "default-src 'none'"
    return {
        "Content-Security-Policy": f"{policy}; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }
