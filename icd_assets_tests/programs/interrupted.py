"""An interrupt or an error falls into a destructor, where Python ignores it. CASE says which, and where."""

import signal
import sys
import time
import weakref
from collections.abc import Callable

from dagster._core.errors import raise_execution_interrupts

from icd_assets.runtime.interrupts import deliver_every_interrupt


class Doomed:
    pass


def collect(act: Callable[[], None]) -> None:
    doomed = Doomed()
    watching = weakref.ref(doomed, lambda _: act())  # noqa: F841
    del doomed


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def fail() -> None:
    raise ValueError("in a destructor")


def once() -> None:
    collect(interrupt)
    print("went on", flush=True)
    time.sleep(30)


def in_a_step() -> None:
    with raise_execution_interrupts():
        collect(interrupt)
        time.sleep(30)


def again_and_again() -> None:
    tries = []

    def busy_destructor() -> None:
        tries.append(1)
        until = time.monotonic() + 0.2  # longer than the wait before it is sent again
        while time.monotonic() < until:
            pass

    collect(interrupt)
    try:
        for _ in range(3):
            collect(busy_destructor)
        time.sleep(30)
    except KeyboardInterrupt:
        print(len(tries))


def an_error() -> None:
    collect(fail)


deliver_every_interrupt()
cases = {case.__name__: case for case in (once, in_a_step, again_and_again, an_error)}
cases[sys.argv[1]]()
