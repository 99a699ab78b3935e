"""A person in the UI: materialize rl_data of one demo cell, and see what it says about it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

playwright = pytest.importorskip("playwright.sync_api")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ROOT = Path(__file__).parents[1]
KEY = "demo|RandSampler/tiny_vl"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]


@pytest.fixture(scope="module")
def address(demo_upstream: Path) -> Iterator[str]:
    """``icd-assets ui`` on an instance in which everything up to the embeddings is made."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "icd_assets.cli", "ui", "--host", "127.0.0.1", "--port", str(port)]
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(demo_upstream),
        "RESULT_DIR": str(demo_upstream / "results"),
    }
    log = (demo_upstream / "ui.log").open("w")
    server = subprocess.Popen(
        command, cwd=demo_upstream, env=environment, stdout=log, stderr=log, start_new_session=True
    )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until_up(url, server)
        yield url
    finally:
        os.killpg(server.pid, signal.SIGINT)
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
        log.close()


def _wait_until_up(url: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(120):
        assert server.poll() is None, "the UI ended before it answered"
        try:
            with urllib.request.urlopen(f"{url}/server_info", timeout=2):
                return
        except OSError:
            time.sleep(1)
    raise AssertionError("the UI did not answer in two minutes")
