"""A path on the command line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from icd_assets.runtime.user_path import expanded


class Place(click.Path):
    """``~`` is replaced, and what can be no path of this machine is refused. A name that is there may be any."""

    def __init__(self, **options: Any) -> None:
        super().__init__(path_type=Path, **options)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        origin = "" if param is None else param.opts[0] if isinstance(param, click.Option) else str(param.name)
        path = expanded(os.fsdecode(value), origin, one_line=False)
        if not _is_there(path):
            expanded(os.fsdecode(value), origin)  # a new file is not given such a name
        return super().convert(path, param, ctx)


def _is_there(path: Path) -> bool:
    try:
        return os.path.lexists(path)
    except (OSError, ValueError):
        return False
