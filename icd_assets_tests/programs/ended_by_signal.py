"""A command that a signal ends. CASE says where it falls."""

import signal
import sys
import time

from icd_assets.cli import ending


def at_once() -> None:
    try:
        signal.raise_signal(signal.SIGINT)
    finally:
        print("cleaned", flush=True)


def unwound() -> None:
    with ending.unwinding():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            print("cleaned", flush=True)


def twice() -> None:
    with ending.unwinding():
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(signal.SIGINT)
            print("cleaned", flush=True)


def on_the_way() -> None:
    """The first was raised by Dagster's handler; the second comes before the process ends."""
    leave = ending.leave

    def interrupted(*given: object) -> None:
        ending.leave = leave
        signal.raise_signal(signal.SIGINT)
        leave(*given)

    ending.leave = interrupted
    try:
        with ending.unwinding():
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        print("Aborted!", flush=True)  # as click does


def closed() -> None:
    """The terminal."""
    try:
        signal.raise_signal(signal.SIGHUP)
    finally:
        print("cleaned", flush=True)


def closed_in_a_run() -> None:
    """Dagster's handler raises an error of its own, for SIGINT and SIGTERM alone."""

    class Interrupted(BaseException): ...

    def interrupt(*_: object) -> None:
        raise Interrupted

    with ending.unwinding():
        signal.signal(signal.SIGINT, interrupt)
        try:
            signal.raise_signal(signal.SIGHUP)
        except Interrupted:
            print("cleaned", flush=True)
    print("went on", flush=True)


def closed_in_the_background() -> None:
    """A shell without job control ignores SIGINT in what it puts there; nohup would ignore SIGHUP."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ending.begin()
    with ending.unwinding():
        try:
            signal.raise_signal(signal.SIGHUP)
        finally:
            print("cleaned", flush=True)


def dropped() -> None:
    """Dagster's own handler takes note of it, and forgets it behind the last step."""
    with ending.unwinding():
        signal.signal(signal.SIGINT, lambda *_: None)
        signal.raise_signal(signal.SIGINT)
        print("went on", flush=True)
    time.sleep(30)


def ignored() -> None:
    """As a shell starts what is put in the background."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ending.begin()
    signal.raise_signal(signal.SIGINT)
    with ending.unwinding():
        signal.raise_signal(signal.SIGINT)
    print("went on", flush=True)


def imported() -> None:
    """No handler is there yet."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.raise_signal(signal.SIGINT)


def ignored_in_imports() -> None:
    """It falls where Python goes on."""

    class Falls:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    signal.signal(signal.SIGINT, signal.default_int_handler)
    Falls()
    print("went on", flush=True)


ending.begin()
closings = (closed, closed_in_a_run, closed_in_the_background)
every = (*closings, on_the_way, at_once, unwound, twice, dropped, ignored, imported, ignored_in_imports)
cases = {case.__name__: case for case in every}
cases[sys.argv[1]]()
