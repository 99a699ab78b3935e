"""One HTML file with everything in it: style, script, data, pictures.

No request leaves such a page: its policy (CSP) allows no address, one script by its digest, and pictures that
stand in the page. Texts of datasets and catalogs are data: Jinja escapes them, and the script sets them as text.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from icd_assets import __version__
from icd_assets.lineage.words import moment, run_name

_UNSAFE = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})


def render(template: str, **content: Any) -> str:
    """A page of ``templates/``, with the style and the script that all pages share."""
    style, script = _resource("style.css"), _resource("gallery.js")
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src '{_digest(script)}'"
    shared = {"policy": policy, "style": Markup(style), "script": Markup(script), "version": __version__}
    return _environment().get_template(template).render(**shared, **content)


def as_data(value: Any) -> Markup:
    """JSON for a ``<script type="application/json">``: no text in it can end the element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.translate(_UNSAFE))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("icd_assets.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"points": _points, "data": as_data, "moment": moment, "run": run_name}
    return environment


def _points(value: float, sign: str = "") -> str:
    """A share as percent with one digit, with a true minus."""
    return f"{100 * value:{sign}.1f}".replace("-", "−")


def _resource(name: str) -> str:
    return (files("icd_assets.report") / "templates" / name).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"
