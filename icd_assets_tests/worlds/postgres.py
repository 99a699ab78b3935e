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

PASSWORD = "pg-s3cret/w0rd"  # in an address it has to be escaped


class Server(dict[str, str]):
    """The variables that name it, as docker/dagster.yaml reads them. Whoever connects needs the password."""

    def __init__(self, programs: Path, data: Path, port: str, owner: str | None) -> None:
        super().__init__(
            POSTGRES_HOST="127.0.0.1",
            POSTGRES_PORT=port,
            POSTGRES_USER="icd",
            POSTGRES_PASSWORD=PASSWORD,
            POSTGRES_DB="dagster",
        )
        self.data = data
        self._programs, self._port, self._owner = programs, port, owner

    @property
    def url(self) -> str:
        """Without the password, which PGPASSWORD is for."""
        return f"postgresql://icd@127.0.0.1:{self._port}/dagster"

    def start(self) -> None:
        options = f"-p {self._port} -k {self.data} -c listen_addresses=127.0.0.1 -c fsync=off"
        self.run("pg_ctl", "-D", str(self.data), "-w", "-l", str(self.data / "log"), "-o", options, "start")

    def stop(self) -> None:
        """At once, as after a loss of power: no client is asked."""
        self.run("pg_ctl", "-D", str(self.data), "-m", "immediate", "stop")

    def sql(self, statement: str, database: str = "dagster") -> str:
        """What ``psql`` prints of it, bare."""
        place = ["-h", "127.0.0.1", "-p", self._port, "-U", "icd", "-d", database]
        return self.run("psql", *place, "-qAtc", statement).strip()

    def run(self, program: str, *arguments: str) -> str:
        command = [str(self._programs / program), *arguments]
        environment = {**os.environ, "PGPASSWORD": PASSWORD}
        with tempfile.TemporaryFile("w+") as output:  # a pipe would stay open in the server that pg_ctl starts
            subprocess.run(command, cwd=self.data, user=self._owner, check=True, stdout=output, env=environment)
            output.seek(0)
            return output.read()


def _programs() -> Path:
    """Debian keeps the programs of each version in a folder that is not on PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [Path(shutil.which("initdb") or "")]
    if not found[-1].is_file():
        pytest.skip("needs PostgreSQL's server programs, e.g. apt install postgresql")
    return found[-1].parent


@contextmanager
def postgres() -> Iterator[Server]:
    programs, owner = _programs(), "postgres" if os.getuid() == 0 else None  # it refuses to run as root
    data = Path(tempfile.mkdtemp(prefix="icd_postgres_"))  # not below pytest's folder, which is root's alone
    password = data.with_suffix(".password")
    password.write_text(PASSWORD)
    if owner is not None:
        shutil.chown(data, owner)
        shutil.chown(password, owner)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        server = Server(programs, data, str(free.getsockname()[1]), owner)
    server.run("initdb", "-D", str(data), "-U", "icd", "-A", "scram-sha-256", f"--pwfile={password}", "--no-sync")
    password.unlink()
    server.start()
    try:
        server.sql("CREATE DATABASE dagster", "postgres")
        yield server
    finally:
        if (data / "postmaster.pid").is_file():
            server.stop()
        shutil.rmtree(data)
