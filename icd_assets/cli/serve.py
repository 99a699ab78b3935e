"""``icd-assets serve``: the demonstrations that a cell's selector chooses, over HTTP."""

from __future__ import annotations

import os
import signal
import socket
from importlib.util import find_spec

import click

from icd_assets.cli.cell_arguments import GpuCommand
from icd_assets.cli.echo import echo
from icd_assets.cli.options import setting_options
from icd_assets.cli.session import Session
from icd_assets.errors import UserError
from icd_assets.experiment.settings import Settings
from icd_assets.runtime.http_callers import is_loopback


@click.command(
    cls=GpuCommand,
    short_help="Answer over HTTP which demonstrations to show.",
    examples=(
        "icd-assets serve                                         # the demo's",
        "icd-assets serve okvqa rand_sampler qwen2.5_vl_3B --port 8401",
        "icd-assets serve --host 0.0.0.0                          # and ICD_SERVE_TOKEN",
    ),
)
@click.argument("cell", nargs=-1, metavar="[CELL]")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to serve at; 0.0.0.0 is all.")
@click.option("--port", "-p", type=click.IntRange(0, 65535), default=8400, show_default=True, help="0: any free.")
@click.option("--token", help="What requests must know. [ICD_SERVE_TOKEN]")
@setting_options
def serve(cell: tuple[str, ...], host: str, port: int, token: str | None, settings: Settings) -> None:
    """Answer POST /select with demonstrations that the last trained selector of CELL chooses.

    Requests and answers are described at /openapi.json. Other machines reach it only by --host, and then every
    request must send the header "Authorization: Bearer TOKEN". Ctrl-C ends it.
    """
    loopback, token = is_loopback(host), token or os.environ.get("ICD_SERVE_TOKEN")
    if not loopback and not token:
        raise UserError(
            f"--host {host} lets other machines ask; set ICD_SERVE_TOKEN to a secret that they must send."
        )
    if lacking := [name for name in ("fastapi", "uvicorn") if find_spec(name) is None]:
        raise UserError(f"serving needs the package {lacking[0]}; pip install 'icd-assets[serve]'.")
    import uvicorn

    from icd_assets.runtime.http_port import BACKLOG, Port
    from icd_assets.use.cell_selector import of_cell
    from icd_assets.use.server import app_of

    session = Session.here(settings)
    experiment = session.open(session.cell_or_demo(cell))
    with _listening(host, port) as listening:
        trained = of_cell(experiment)
        app = app_of(
            trained,
            experiment.data.train,
            cell=str(experiment.cell),
            style=experiment.model.prompt,
            hosts=[host] if loopback else ["*"],
            token=token or None,
        )
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                http=Port,
                backlog=BACKLOG,
                timeout_graceful_shutdown=5,
            )
        )
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)  # uvicorn raises again what it ended for
        address, at = listening.getsockname()[:2]
        shown = f"[{address}]" if ":" in address else address
        echo(f"{trained.name} of {experiment.cell} answers at http://{shown}:{at}/select; Ctrl-C ends it")
        server.run(sockets=[listening])
    echo("ended")


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except socket.gaierror:
        raise UserError(f"--host {host} is no address of this machine; 127.0.0.1 is the default.") from None
    except OSError as error:
        raise UserError(
            f"port {port} of {host} cannot be served at ({error.strerror}); take another: --port 0 finds one."
        ) from None
