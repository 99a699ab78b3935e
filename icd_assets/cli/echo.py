"""Lines of a command that are no table: the one way for them to stdout and stderr. Tables go by :mod:`.screen`."""

from __future__ import annotations

from typing import Any

import click

from icd_assets.runtime.foreign import harmless


def echo(text: str = "", *, err: bool = False, nl: bool = True, **style: Any) -> None:
    """``text`` without what would steer the terminal: a name in it may come from a file of anyone's.

    style: click's, as ``bold=True`` or ``fg="cyan"``; a log gets the text alone.
    """
    click.secho(harmless(text), err=err, nl=nl, **style)
