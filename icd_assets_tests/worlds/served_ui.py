"""``icd-assets ui`` as a real process: Dagster's daemon and code server, and our web server."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

LOG = "ui.log"


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def plain_webserver(folder: Path, environment: Mapping[str, str], seconds: float = 90) -> Iterator[str]:
    """Dagster's own web server of the same home, without our guard and without a daemon: its address."""
    command = ["dagster_webserver", "-w", "workspace.yaml"]
    with _served(command, folder, {**environment, "DAGSTER_HOME": str(folder)}, "plain.log", seconds) as url:
        yield url


@contextmanager
def served_ui(folder: Path, environment: Mapping[str, str], *options: str, seconds: float = 90) -> Iterator[str]:
    """Its address, once it answers there; its log is ``ui.log`` in the folder."""
    with _served(["icd_assets.cli", "ui", *options], folder, environment, LOG, seconds) as url:
        yield url


@contextmanager
def ui_of_a_script(folder: Path, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """As a shell script starts it in the background, and ends it by ``kill``: its process, once it answers."""
    ignored = ["bash", "-c", 'trap "" INT; exec "$0" "$@"', sys.executable]
    port, log = free_port(), folder / LOG
    command = [*ignored, "-m", "icd_assets.cli", "ui", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("w") as output:
        server = subprocess.Popen(
            command, cwd=folder, env=dict(environment), stdout=output, stderr=output, start_new_session=True
        )
        try:
            _wait_until_up(f"http://127.0.0.1:{port}", server, log, 90)
            yield server
        finally:
            _end_with_children(server)


@contextmanager
def _served(
    module: Sequence[str], folder: Path, environment: Mapping[str, str], log_name: str, seconds: float
) -> Iterator[str]:
    """A module as a process that serves on loopback, and nothing of it afterwards."""
    port, log = free_port(), folder / log_name
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", *module, "--host", "127.0.0.1", "--port", str(port)]
    with log.open("w") as output:
        server = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            _wait_until_up(url, server, log, seconds)
            yield url
        finally:
            _end_with_children(server)


def _wait_until_up(url: str, server: subprocess.Popen[bytes], log: Path, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert server.poll() is None, f"the UI ended before it answered\n{log.read_text(encoding='utf-8')}"
        try:
            with urllib.request.urlopen(f"{url}/server_info", timeout=2):
                return
        except urllib.error.HTTPError:  # it asks for a token
            return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(f"the UI does not answer\n{log.read_text(encoding='utf-8')}")


def _end_with_children(server: subprocess.Popen[bytes]) -> None:
    """Ctrl-C in the terminal of ``make ui``; what is left of its process group after that is killed."""
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        server.wait(20)
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait(10)
