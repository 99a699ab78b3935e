"""A page's commands, as a reader would type them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

# What a reader types begins so; other blocks show files, or what a command prints.
_TYPED = re.compile(r"(icd-assets|export|cd|dagster|pip|make|source|model_signing|[A-Z_]+=\S+ icd-assets)\b")


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """(language, text) of each fenced block that is to be typed or run: ``shell`` or ``python``.

    A YAML file whose first line is its name comes with that name for a language.
    """
    text = page.read_text(encoding="utf-8")
    for language, body in re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        if language == "python":
            yield "python", body
        elif language == "yaml" and (named := re.match(r"# (\S+\.yaml)\n", body)):
            yield named[1], body
        elif not language and _TYPED.match(body):
            yield "shell", body


def inline(page: Path) -> list[str]:
    """Commands in the text itself: those that name a command and its words, nothing left open."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return [one.replace("\\|", "|") for one in re.findall(r"`(icd-assets [^`\n]+)`", text)]
