"""``python -m icd_assets.defs.webserver``: ``dagster-webserver``, with its options, and with our app."""

from __future__ import annotations

import os
import sys
from functools import partial
from types import SimpleNamespace

import uvicorn
from dagster_webserver import cli

from icd_assets.defs.webserver.access import Access
from icd_assets.defs.webserver.app import create_app
from icd_assets.errors import UserError
from icd_assets.runtime.home import load_env_file
from icd_assets.runtime.http_port import BACKLOG, Port


def main() -> None:
    try:
        load_env_file()
        Access.read(os.environ)  # a sentence now, not a traceback later
    except UserError as error:
        sys.exit(f"icd-assets: {error}")
    cli.create_app_from_workspace_process_context = create_app  # type: ignore[attr-defined,assignment]
    bearing = partial(uvicorn.run, http=Port, backlog=BACKLOG)
    cli.uvicorn = SimpleNamespace(run=bearing)  # type: ignore[attr-defined,assignment]
    cli.main()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
