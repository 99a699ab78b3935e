"""The Ray cluster that ``$RAY_ADDRESS`` names. None is ever started here: the head of one may listen on all
interfaces, and runs code for whoever connects."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from icd_assets.errors import UserError
from icd_assets.runtime.foreign import brief, first_line

_SUCH_AS = "the address of its head, such as 10.0.0.10:6379"


def require_ray() -> str:
    """The address of the cluster. Nobody is asked whether it is there. Raises ``UserError``."""
    if find_spec("ray") is None:
        raise UserError("ICD_WORKERS=ray needs a package more: pip install 'icd-assets[ray]'.")
    address = os.environ.get("RAY_ADDRESS", "").strip()
    if not address:
        raise UserError(f"ICD_WORKERS names Ray, but RAY_ADDRESS no cluster; set it to {_SUCH_AS}.")
    if address.startswith(("http://", "https://")):
        raise UserError(f"RAY_ADDRESS is {brief(address)}, which takes jobs alone; set it to {_SUCH_AS}.")
    if address.startswith("local"):
        raise UserError(f"RAY_ADDRESS is {brief(address)}, but no cluster is started here; set it to {_SUCH_AS}.")
    return address


def connect() -> Any:
    """The module ``ray``, connected for the rest of this process. Raises ``UserError``."""
    address = require_ray()
    import ray

    if not ray.is_initialized():
        try:
            with _own_sigterm():
                ray.init(address, logging_level=logging.WARNING)
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
