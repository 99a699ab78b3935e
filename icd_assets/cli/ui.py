"""``icd-assets ui``: Dagster's UI on the project, one per home: a second daemon would launch every tick twice."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import suppress
from pathlib import Path

import click
from pydantic import BaseModel, Field, ValidationError

from icd_assets.cli.echo import echo
from icd_assets.cli.help import Command
from icd_assets.defs.webserver.access import BEHIND_PROXY, HOSTS, TOKEN, Access
from icd_assets.errors import UserError
from icd_assets.runtime.http_callers import is_address
from icd_assets.runtime.left_by_ui import left_at_work
from icd_assets.runtime.locks import hold
from icd_assets.runtime.process_record import ProcessRecord
from icd_assets.runtime.small_file import read_small
from icd_assets.store.atomic import write_atomic

_RECORD = Path("storage/icd_assets_ui.json")
_LARGEST = 1 << 16  # bytes


class _Running(BaseModel):
    """The UI of a home: its process, which stays the same when it becomes ``dagster dev``, and its address."""

    machine: str
    pid: int = Field(ge=1, lt=2**31)
    born: str
    host: str = Field(pattern=r"^[\w.:%-]+$", max_length=255)
    port: int = Field(ge=1, le=65535)

    @property
    def url(self) -> str:
        return f"http://{'127.0.0.1' if self.host in ('0.0.0.0', '::') else self.host}:{self.port}"

    def alive(self) -> bool:
        """Without a birth (not Linux) the number may be another process's by now: then the port counts too."""
        lives = ProcessRecord(self.machine, self.pid, self.born).gone() is False
        return lives and (self.born != "" or not _free(self.host, self.port))


@click.command(
    cls=Command,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    short_help="Open Dagster's UI on the project.",
    examples=(
        "icd-assets ui",
        "icd-assets ui --port 3001",
        "icd-assets ui --host 0.0.0.0             # and ICD_UI_TOKEN",
    ),
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to serve at; 0.0.0.0 is all.")
@click.option("--port", "-p", type=click.IntRange(1, 65535), default=3000, show_default=True, help="Its port.")
@click.option("--token", help="What browsers must send, once. [ICD_UI_TOKEN]")
@click.option("--allow-host", "names", multiple=True, help="A name that it is reached by. [ICD_UI_HOSTS]")
@click.option("--behind-proxy", is_flag=True, help="A proxy in front asks for a login. [ICD_UI_BEHIND_PROXY]")
@click.pass_context
def ui(
    context: click.Context, host: str, port: int, token: str | None, names: tuple[str, ...], behind_proxy: bool
) -> None:
    """Open Dagster's UI on the project; further options go to `dagster dev`.

    Where the UI of this folder runs already, say at which address, and end. It takes orders from its own pages and
    from programs on this machine alone; beyond it, by --host, a token is needed, or a proxy that asks for a login.
    """
    from icd_assets.defs.runs.code_location import MODULE
    from icd_assets.defs.runs.instance import enter_home, open_instance
    from icd_assets.defs.runs.known_cells import add_cells_of
    from icd_assets.experiment.catalog import Catalog
    from icd_assets.experiment.experiment import results_root
    from icd_assets.store.store import Store

    home = enter_home()
    store, catalog = Store(results_root()), Catalog.load()  # what is wrong with them is no web page's to show
    _RECORD.parent.mkdir(exist_ok=True)
    with hold(_RECORD.with_suffix(".lock")):
        if (first := _read()) is not None and first.alive():
            echo(f"the UI of this folder is at {first.url} already (process {first.pid})")
            return
        if left := left_at_work(home):
            numbers = " ".join(str(pid) for pid in left)
            raise UserError(f"another Dagster UI of this folder left processes at work; end them: kill {numbers}")
        if not _free(host, port):
            other = next((near for near in range(port + 1, 65536) if _free(host, near)), 0)
            todo = f"take a free one: icd-assets ui --port {other}"
            raise UserError(f"port {port} is used by another program; {todo}.")
        _let_in(host, token, names, behind_proxy)
        with open_instance() as opened:  # creates the instance's tables before two processes try to
            add_cells_of(opened, store, catalog)
        me = ProcessRecord.of(os.getpid())
        record = _Running(machine=me.host, pid=me.pid, born=me.born, host=host, port=port)
        write_atomic(_RECORD, record.model_dump_json().encode())
    where = ["-w", "workspace.yaml"] if Path("workspace.yaml").is_file() else ["-m", MODULE]
    if os.environ.get(TOKEN):
        echo(f"open {record.url}/?token=… with the token; the browser keeps a cookie")
    command = [sys.executable, "-m", "icd_assets.defs.webserver.dev", *where, "--host", host, "--port", str(port)]
    os.execv(sys.executable, [*command, *context.args])


def _let_in(host: str, token: str | None, names: tuple[str, ...], behind_proxy: bool) -> None:
    """Check who may use the UI, and leave it in the environment, where its web server reads it."""
    if token is not None:
        os.environ[TOKEN] = token
    if not is_address(host):
        names = (*names, host)
    os.environ[HOSTS] = ",".join(filter(None, [os.environ.get(HOSTS), *names]))
    if behind_proxy:
        os.environ[BEHIND_PROXY] = "1"
    Access.read(os.environ).require_for(host)


def _read() -> _Running | None:
    with suppress(OSError, ValidationError):
        return _Running.model_validate_json(read_small(_RECORD, _LARGEST))
    return None


def _free(host: str, port: int) -> bool:
    """Whether a server could listen there; a port that was left a moment ago is free, as Dagster sees it."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise UserError(f"--host {host}: this machine has no such address ({error.strerror or error}).") from None
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError:
            return False
    return True
