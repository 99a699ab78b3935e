"""Markdown from templates, in which no name that somebody gave can mean more than itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

_MEANS_MORE = re.compile(r"[\\`*_\[\]<>|~&@$#]|(?<=www)\.|:(?=//)", re.IGNORECASE)


class Markdown(str):
    """Text that is Markdown already."""

    __slots__ = ()


def escaped(value: object) -> str:
    """``value`` as Markdown shows it letter by letter, in one line; HTML, links and tables are none in it."""
    if isinstance(value, Markdown):
        return value
    text = " ".join(str(value).split())
    plain = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return _MEANS_MORE.sub(lambda found: f"\\{found[0]}", plain)


def in_code(value: object) -> Markdown:
    """``value`` between backticks, in which nothing else can be escaped."""
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(str(value).split()))
    return Markdown(f"`{text.replace('`', chr(0x2019)).replace('|', chr(0x2758))}`")


def rendered(template: str, **names: Any) -> str:
    """A template of this folder; what it shows is escaped, unless it is :class:`Markdown`."""
    return _environment().get_template(template).render(names).strip() + "\n"


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=False,  # of HTML; ``finalize`` escapes for Markdown
        finalize=escaped,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["code"] = in_code
    return made


def with_metadata(metadata: str, body: str) -> str:
    """A card: YAML between rules, then Markdown."""
    return f"---\n{metadata.strip()}\n---\n\n{body}"


def table(header: Mapping[str, str], rows: list[Mapping[str, object]]) -> Markdown:
    """Rows by the keys of ``header``, whose values are the columns' heads."""
    from icd_assets.evaluation.tables import text_table

    lines = [[escaped(row[key]) for key in header] for row in rows]
    return Markdown(text_table([escaped(head) for head in header.values()], lines))
