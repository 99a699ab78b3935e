"""Dagster's app with the guard in front of it."""

from __future__ import annotations

import os
from typing import Any

from dagster_webserver.app import create_app_from_workspace_process_context
from starlette.applications import Starlette

from icd_assets.defs.webserver.access import Access
from icd_assets.defs.webserver.guard import Guard
from icd_assets.defs.webserver.reports import report_route


def create_app(
    context: Any, path_prefix: str = "", live_data_poll_rate: int | None = None, **kwargs: Any
) -> Starlette:
    """What Dagster's function of the same parameters makes, guarded, with the reports of cells."""
    app = create_app_from_workspace_process_context(context, path_prefix, live_data_poll_rate, **kwargs)
    app.router.routes.insert(0, report_route(path_prefix))
    app.add_middleware(Guard, access=Access.read(os.environ))
    return app
