"""The command line, whose command fails as CASE says."""

import sys
import threading
from typing import Any, NoReturn

import click

from icd_assets import cli
from icd_assets.errors import UserError

HOSTILE = "a\x1b[31mb\x9b5mc\u202ed\udcffe"


def usage() -> NoReturn:
    raise click.UsageError(HOSTILE)


def mistake() -> NoReturn:
    raise UserError(HOSTILE)


def bug() -> NoReturn:
    raise ZeroDivisionError(HOSTILE)


def thread() -> None:
    threading.Thread(target=bug).start()


def unprintable() -> NoReturn:
    class Bad(Exception):
        def __str__(self) -> str:
            raise ZeroDivisionError

    raise Bad


def long() -> NoReturn:
    raise ZeroDivisionError("x" * 10_000_000)


def memory() -> NoReturn:
    raise ImportError("libtorch_cpu.so: failed to map segment from shared object")


def processes() -> NoReturn:
    raise RuntimeError("can't start new thread")


def printed() -> None:
    click.echo("→ × ±")
    click.echo(HOSTILE[-3:])
    click.echo("→ × ±", err=True)
    click.echo(HOSTILE[-3:], err=True)


def main(**_: Any) -> None:
    globals()[sys.argv[1]]()


cli.group.main = main  # type: ignore[assignment]
cli.main()
