"""A run's process shows the records that it lives, for those who cannot look at it: it is on another machine.

Gap: Dagster (1.13.27) asks launchers of other kinds than the default one whether a run's worker lives, and nobody
else. A worker that is killed on another machine leaves its run "started", and the steps that it placed go on.

The sign is a text that changes every two seconds, in Dagster's table of cursors. Whether it still changes is
measured by the clock of who watches: clocks of two machines need not agree.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Any, NamedTuple

import dagster as dg

SIGN_SECONDS = 2.0
SILENT_SECONDS = 10.0  # so long without a new sign is the end

_signing: dict[str, threading.Event] = {}  # by run: set when it has ended
_seen: dict[str, _Seen] = {}  # by run


class _Seen(NamedTuple):
    """A run's latest sign, when it was first seen by this process's clock, and whether another was seen before."""

    sign: str
    since: float
    changed: bool


def show_life(instance: dg.DagsterInstance, run_id: str) -> None:
    """From now on, until :func:`end_signs` or the end of this process, show that it lives."""
    if instance.is_ephemeral or run_id in _signing:
        return
    ended = _signing[run_id] = threading.Event()

    def sign() -> None:
        while True:
            with suppress(Exception):  # records that are locked or away: the next sign may pass
                _cursors(instance).set_cursor_values({_key(run_id): repr(time.time())})
            if ended.wait(SIGN_SECONDS):
                return

    threading.Thread(target=sign, name="signs of life", daemon=True).start()


def end_signs(run_id: str) -> None:
    """The run has ended in the records."""
    if (ended := _signing.pop(run_id, None)) is not None:
        ended.set()


def silent(instance: dg.DagsterInstance, run_id: str) -> bool | None:
    """Whether a run's process gave no sign for ten seconds; None if it never gave one.

    Where the latest sign is older by this machine's clock, that is known only after watching for so long:
    :func:`undecided`.
    """
    key = _key(run_id)
    sign = _cursors(instance).get_cursor_values({key}).get(key)
    if sign is None:
        return None
    now, before = time.monotonic(), _seen.get(run_id)
    if before is None or before.sign != sign:
        _seen[run_id] = _Seen(sign, now, before is not None)
    return now - _seen[run_id].since >= SILENT_SECONDS


def undecided(run_id: str) -> bool:
    """Whether a run's sign is old by this machine's clock, but was not watched for long enough to know."""
    seen = _seen.get(run_id)
    if seen is None or seen.changed or time.monotonic() - seen.since >= SILENT_SECONDS:
        return False
    return not 0 <= time.time() - float(seen.sign) + SIGN_SECONDS < SILENT_SECONDS


def watch_anew(run_id: str) -> None:
    """The records could not be read for a while: nothing is known of that time."""
    _seen.pop(run_id, None)


def _cursors(instance: dg.DagsterInstance) -> Any:
    return instance.daemon_cursor_storage


def _key(run_id: str) -> str:
    return f"icd_assets/sign_of_life/{run_id}"
