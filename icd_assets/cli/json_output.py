"""``--json``: one object on stdout and nothing else; its keys are on the page Commands.

``schema`` is a number per command, raised when a key goes away or changes its meaning, not when one is added.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from icd_assets.cli.echo import echo

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")


def print_json(schema: int, document: Mapping[str, Any]) -> None:
    echo(json.dumps({"schema": schema, **document}, indent=1))
