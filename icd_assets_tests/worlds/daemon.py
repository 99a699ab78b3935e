"""Dagster's daemon at work in a workplace."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from icd_assets_tests.worlds.workplace import Workplace


@contextmanager
def daemon(place: Workplace, variables: Mapping[str, str], inside: Sequence[str] = ()) -> Iterator[None]:
    """``inside``: a command that starts it where it is to be, such as in a network of its own."""
    command = [*inside, sys.executable, "-m", "dagster._daemon", "run", "-w", "workspace.yaml"]
    environment = {**place.environment, **variables}
    with (place.folder / "daemon.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=place.folder, env=environment, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)
