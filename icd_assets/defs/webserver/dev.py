"""``python -m icd_assets.defs.webserver.dev``: ``dagster dev`` with our web server in the place of its own."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from typing import Any

from dagster_shared import ipc

OURS = "icd_assets.defs.webserver"


def main() -> None:
    start = ipc.open_ipc_subprocess

    def start_ours(command: Sequence[str], **kwargs: Any) -> Any:
        return start([OURS if word == "dagster_webserver" else word for word in command], **kwargs)

    ipc.open_ipc_subprocess = start_ours  # type: ignore[assignment] # before Dagster's command imports it
    sys.argv[1:1] = ["dev"]
    runpy.run_module("dagster", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
