"""An interrupt that Python ignores comes again; what else Python ignores is told as ever."""

from __future__ import annotations

import subprocess
import sys

BODY = """
import signal, time, weakref
from dagster._core.errors import raise_execution_interrupts
from icd_assets.runtime.interrupts import deliver_every_interrupt

class Doomed:
    pass

def collect(act):
    doomed = Doomed()
    watching = weakref.ref(doomed, lambda _: act())
    del doomed

def interrupt():
    signal.raise_signal(signal.SIGINT)

def fail():
    raise ValueError("in a destructor")

deliver_every_interrupt()
"""


def run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", BODY + script], capture_output=True, text=True, timeout=60)


def test_heard_though_it_fell_into_a_destructor() -> None:
    ended = run("collect(interrupt); print('went on', flush=True); time.sleep(30)")
    assert ended.stdout == "went on\n"  # else it was not ignored, and nothing is shown here
    assert ended.stderr.splitlines()[-1] == "KeyboardInterrupt"
    assert "Exception ignored" not in ended.stderr


def test_heard_as_the_interrupt_of_a_step() -> None:
    ended = run("with raise_execution_interrupts():\n    collect(interrupt)\n    time.sleep(30)")
    assert ended.stderr.splitlines()[-1].endswith("DagsterExecutionInterruptedError")


def test_heard_though_it_falls_there_again_and_again() -> None:
    ended = run(
        """
tries = []
def busy_destructor():
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
"""
    )
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) >= 1


def test_what_else_is_ignored_is_told() -> None:
    ended = run("collect(fail)")
    assert ended.returncode == 0
    assert "Exception ignored" in ended.stderr
    assert "ValueError: in a destructor" in ended.stderr
