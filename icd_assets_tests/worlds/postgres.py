"""A PostgreSQL server of the system's programs, with an empty database ``dagster``, for as long as a test runs."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def _programs() -> Path:
    """Debian keeps the programs of each version in a folder that is not on PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [Path(shutil.which("initdb") or "")]
    if not found[-1].is_file():
        pytest.skip("needs PostgreSQL's server programs, e.g. apt install postgresql")
    return found[-1].parent


@contextmanager
def postgres() -> Iterator[dict[str, str]]:
    """The variables that name it, as docker/dagster.yaml reads them."""
    programs, owner = _programs(), "postgres" if os.getuid() == 0 else None  # it refuses to run as root
    data = Path(tempfile.mkdtemp(prefix="icd_postgres_"))  # not below pytest's folder, which is root's alone
    if owner is not None:
        shutil.chown(data, owner)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])

    def run(program: str, *arguments: str) -> None:
        subprocess.run(
            [str(programs / program), *arguments], cwd=data, user=owner, check=True, stdout=subprocess.DEVNULL
        )

    run("initdb", "-D", str(data), "-U", "icd", "-A", "trust", "--no-sync")
    options = f"-p {port} -k {data} -c listen_addresses=127.0.0.1 -c fsync=off"
    run("pg_ctl", "-D", str(data), "-w", "-l", str(data / "log"), "-o", options, "start")
    try:
        run("createdb", "-h", "127.0.0.1", "-p", port, "-U", "icd", "dagster")
        yield {
            "POSTGRES_HOST": "127.0.0.1",
            "POSTGRES_PORT": port,
            "POSTGRES_USER": "icd",
            "POSTGRES_PASSWORD": "icd",
            "POSTGRES_DB": "dagster",
        }
    finally:
        run("pg_ctl", "-D", str(data), "-m", "immediate", "stop")
        shutil.rmtree(data)
