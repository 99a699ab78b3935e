"""``icd-assets``: train a selector in one command, see what would be done and what is in the way, open the UI."""

from __future__ import annotations

from icd_assets.cli import ctrl_c  # noqa: F401 - first: what follows takes a second

# isort: split
import io
import sys
from contextlib import suppress
from typing import NoReturn

import click

from icd_assets import __version__
from icd_assets.cli import ending
from icd_assets.cli.adopt import adopt
from icd_assets.cli.card import card
from icd_assets.cli.compare import compare
from icd_assets.cli.diff import diff
from icd_assets.cli.doctor import doctor
from icd_assets.cli.echo import echo
from icd_assets.cli.evaluation import evaluation
from icd_assets.cli.gpus import gpus
from icd_assets.cli.headroom import headroom
from icd_assets.cli.help import Group
from icd_assets.cli.init import init
from icd_assets.cli.leaderboard import leaderboard
from icd_assets.cli.lineage import lineage
from icd_assets.cli.new_dataset import new_dataset
from icd_assets.cli.prune import prune
from icd_assets.cli.publish import export, publish
from icd_assets.cli.remote import pull, push
from icd_assets.cli.report import report
from icd_assets.cli.select import select
from icd_assets.cli.serve import serve
from icd_assets.cli.settings import settings
from icd_assets.cli.status import status, why
from icd_assets.cli.train import demo, train
from icd_assets.cli.ui import ui
from icd_assets.cli.verify import verify
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
        "Make": (train, demo, adopt),
        "See": (status, why, report, compare, leaderboard, evaluation, headroom, lineage, diff, settings),
        "Use": (select, serve),
        "Share": (push, pull, card, export, publish),
        "Keep": (verify, prune),
        "Set up": (init, new_dataset, doctor, ui, gpus),
    }
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
