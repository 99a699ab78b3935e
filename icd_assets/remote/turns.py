"""Who is at work on a remote: pushes side by side, but nobody while something is removed there.

Each creates a lock of its own first and looks for the others' then, so that of two who begin at once at least one
sees the other. A killed one's lock is disregarded after a day.
"""

from __future__ import annotations

import json
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta

from icd_assets.errors import UserError
from icd_assets.remote import layout
from icd_assets.remote.place import Place
from icd_assets.runtime.foreign import printable
from icd_assets.runtime.small_file import parse_json

_PUSH, _PRUNE = "push", "prune"
_STALE = timedelta(days=1)


@contextmanager
def pushing(remote: Place) -> Iterator[None]:
    """Raises :class:`UserError` while a prune is at work there."""
    with _at_work(remote, _PUSH, (_PRUNE,)):
        yield


@contextmanager
def pruning(remote: Place) -> Iterator[None]:
    """Raises :class:`UserError` while anybody is at work there."""
    with _at_work(remote, _PRUNE, (_PUSH, _PRUNE)):
        yield


@contextmanager
def _at_work(remote: Place, kind: str, others: tuple[str, ...]) -> Iterator[None]:
    name = f"{layout.LOCKS}/{kind}-{uuid.uuid4().hex}.json"
    note = {"host": socket.gethostname(), "pid": os.getpid(), "since": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"}
    remote.create(name, json.dumps(note).encode())
    try:
        for entry in remote.names(layout.LOCKS):
            theirs = entry.name.removeprefix(f"{layout.LOCKS}/")
            fresh = datetime.now(UTC) - entry.modified < _STALE
            if entry.name != name and fresh and theirs.startswith(others):
                raise UserError(
                    f"{remote.address} is at work: {_who(remote, entry.name)}. Wait for its end; if it was "
                    f"killed, remove {entry.name} there, or wait a day."
                )
        yield
    finally:
        with suppress(UserError):  # what ended the work is what matters
            remote.delete([name])


def _who(remote: Place, name: str) -> str:
    kind = name.removeprefix(f"{layout.LOCKS}/").partition("-")[0]
    try:
        note = parse_json((remote.read(name, 1000) or b"{}").decode())
        return printable(f"a {kind} of {note['host']}, process {note['pid']}, since {note['since']}"[:200])
    except (ValueError, KeyError, TypeError):
        return f"a {kind}"
