"""``python -m icd_assets.defs.webserver.dev``: ``dagster dev`` with our web server in the place of its own.

Gap: Dagster gives SIGTERM what SIGINT has (1.13.27). A shell script starts what it does not wait for with SIGINT
ignored, so that neither ended the UI, and SIGKILL left its four other processes at work.
"""

from __future__ import annotations

import runpy
import signal
import sys
from collections.abc import Sequence
from typing import Any

from dagster_shared import ipc

OURS = "icd_assets.defs.webserver"


def main() -> None:
    start = ipc.open_ipc_subprocess

    def start_ours(command: Sequence[str], **kwargs: Any) -> Any:
        return start([OURS if word == "dagster_webserver" else word for word in command], **kwargs)

    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    ipc.open_ipc_subprocess = start_ours  # type: ignore[assignment] # before Dagster's command imports it
    sys.argv[1:1] = ["dev"]
    runpy.run_module("dagster", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
