"""``icd-assets``: train a selector in one command, see what would be done and what is in the way, open the UI."""

from __future__ import annotations

from icd_assets.cli import ctrl_c  # noqa: F401 - first: what follows takes its time

# isort: split
import io
import sys
from contextlib import suppress
from typing import NoReturn

import click

from icd_assets import __version__
from icd_assets.cli import ending
from icd_assets.cli.echo import echo
from icd_assets.cli.help import Group
from icd_assets.errors import UserError
from icd_assets.runtime import machine_errors
from icd_assets.runtime.home import load_env_file
from icd_assets.runtime.interrupts import deliver_every_interrupt
from icd_assets.runtime.secrets import redacted

_NO_FAULTS = (SystemExit, KeyboardInterrupt, GeneratorExit)


@click.group(cls=Group)
@click.version_option(__version__)
def group() -> None:
    """Train selectors of in-context demonstrations for vision-language models, as Dagster assets."""


group.add(
    {
        "Make": ("train", "demo", "adopt"),
        "See": (
            *("status", "why", "report", "compare", "leaderboard"),
            *("evaluation", "headroom", "lineage", "diff", "settings"),
        ),
        "Use": ("select", "serve"),
        "Share": ("push", "pull", "card", "export", "publish"),
        "Keep": ("verify", "prune"),
        "Set up": ("init", "new-dataset", "doctor", "ui", "gpus"),
    },
    {"demo": "train", "why": "status", "push": "remote", "pull": "remote", "export": "publish"},
)


def main() -> None:
    """Run the command line; a user's mistake, or a full disk, is one sentence and exit code 2."""
    ending.begin()
    try:
        deliver_every_interrupt()
        load_env_file()
        code = group.main(prog_name="icd-assets", standalone_mode=False)  # click's errors are shown as ours are
        sys.exit(code if isinstance(code, int) else 0)
    except BaseException as error:  # noqa: BLE001 - click ends by one too
        ending.require_output()  # else its error is reported as the command's
        _end(error)


def _end(error: BaseException) -> NoReturn:
    if isinstance(error, UserError):
        _refuse(error)
    if isinstance(error, ending.RunFailed):
        _say(f"icd-assets: {error}")
        sys.exit(error.exit_code)
    if isinstance(error, click.ClickException):
        error.show(shown := io.StringIO())
        _say(shown.getvalue().removesuffix("\n"))
        sys.exit(error.exit_code)
    if isinstance(error, click.Abort):
        _say("Aborted!")
        sys.exit(1)
    if not isinstance(error, _NO_FAULTS) and (explained := machine_errors.explain(error)) is not None:
        _refuse(explained)
    raise error  # a bug: with its traceback


def _refuse(error: UserError) -> NoReturn:
    _say(f"icd-assets: {error}")
    sys.exit(2)


def _say(text: str) -> None:
    """A line to stderr; that nobody reads it, or that its disk is full, changes nothing about the exit code."""
    with suppress(OSError):
        echo(redacted(text), err=True)
