"""The Ray cluster that ``$RAY_ADDRESS`` names. None is ever started here: the head of one may listen on all
interfaces, and runs code for whoever connects."""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from icd_assets.errors import UserError
from icd_assets.runtime.foreign import brief, first_line

_ADDRESS = re.compile(r"(?P<host>[\w.-]+|\[[0-9a-fA-F:.]+\]):(?P<port>[0-9]{1,5})")
_SUCH_AS = "set it to the address of its head, such as 10.0.0.10:6379"
_ANSWERS_WITHIN_SECONDS = 10.0


def require_ray() -> tuple[str, str, int]:
    """The cluster's address, host and port, whether it is there or not. Raises ``UserError``."""
    if find_spec("ray") is None:
        raise UserError("ICD_WORKERS=ray needs a package more: pip install 'icd-assets[ray]'.")
    address = os.environ.get("RAY_ADDRESS", "").strip()
    if not address:
        raise UserError(f"ICD_WORKERS names Ray, but RAY_ADDRESS no cluster; {_SUCH_AS}.")
    # "auto" and "local" would start a cluster, or wait for ever for one that is gone; http:// takes jobs alone,
    # and Ray's client (ray://) does not start our actors.
    if (found := _ADDRESS.fullmatch(address)) is None or not 0 < int(found["port"]) < 1 << 16:
        raise UserError(f"RAY_ADDRESS is {brief(address)}, where no workers of a cluster are had; {_SUCH_AS}.")
    return address, found["host"].strip("[]"), int(found["port"])


def connect() -> Any:
    """The module ``ray``, connected for the rest of this process. Raises ``UserError``."""
    address, host, port = require_ray()
    import ray

    if not ray.is_initialized():
        try:
            socket.create_connection((host, port), _ANSWERS_WITHIN_SECONDS).close()  # Ray would wait for ever
            with _own_sigterm():
                # What actors print stays in Ray's logs, on their nodes.
                ray.init(address, logging_level=logging.WARNING, log_to_driver=False)
        except Exception as error:  # noqa: BLE001 - of its many layers, each with errors of its own
            raise UserError(
                f"no cluster of Ray can be joined at RAY_ADDRESS={address} ({first_line(error)}); start it, "
                "or fix the address."
            ) from None
    return ray


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """What this process does at SIGTERM stays: Ray puts an exit in its stead."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
