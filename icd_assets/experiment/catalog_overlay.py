"""A new dataset's entry in an overlay of the catalog: added to what is there, of which every byte stays."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from icd_assets.errors import UserError
from icd_assets.runtime.small_file import read_small
from icd_assets.runtime.yaml_file import LARGEST, parse_yaml
from icd_assets.store.atomic import write_atomic


class _Plain(yaml.SafeDumper):
    """Writes equal parts twice: an anchor's name may occur once in a file, and an entry is added to others."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def entry_text(name: str, entry: Mapping[str, Any], comment: str) -> str:
    """The lines of the entry below ``datasets:``; ``comment`` is its first."""
    dumped = yaml.dump({name: entry}, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=110)
    said = "".join(letter if letter.isprintable() else "?" for letter in comment)
    return "".join(f"  {line}\n" for line in [f"# {said}", *dumped.splitlines()])


def with_entry(before: str, name: str, text: str, path: Path) -> str:
    """The overlay's text with one more dataset.

    Raises :class:`UserError` if it has one of this name, or is written so that nothing can be added to it.
    """
    try:
        content = parse_yaml(before)
    except ValueError as error:
        raise UserError(f"{path} is not readable YAML ({error}); fix it first.") from None
    if content is not None and not isinstance(content, dict):
        raise UserError(f"{path} is no overlay of the catalog; name another file: --catalog FILE.")
    there = (content or {}).get("datasets")
    if isinstance(there, dict) and name in there:
        raise UserError(f"{path} has a dataset {name!r} already; take another --name.")
    ended = before if before.endswith("\n") or not before else before + "\n"
    heading = re.search(r"^datasets:[ \t]*(#.*)?\n", ended, re.MULTILINE)
    if heading is None and there is None:
        after = f"{ended}datasets:\n{text}"
    elif heading is not None:
        after = ended[: heading.end()] + _indented(text, ended[heading.end() :]) + ended[heading.end() :]
    else:
        after = ""  # in braces, on one line
    if there is not None and not isinstance(there, dict):
        raise UserError(f"{path}: datasets holds no named entries; fix it, or name a new file: --catalog FILE.")
    wanted = {**(content or {}), "datasets": {**(there or {}), **parse_yaml(text)}}
    try:
        fits = parse_yaml(after) == wanted
    except ValueError:
        fits = False
    if not fits:
        raise UserError(
            f"{path} is written so that no dataset can be added to it without a change; name a new file: "
            "--catalog FILE."
        )
    return after


def add_to(path: Path, name: str, text: str) -> None:
    """Write the entry into ``path``, which need not be there. Raises as :func:`with_entry` does."""
    path = Path(os.path.realpath(path))  # a link stays one; resolve() fails at a link to itself
    mode = path.stat().st_mode if path.exists() else None
    write_atomic(path, with_entry(read_overlay(path), name, text, path).encode())
    if mode is not None:
        path.chmod(mode)


def read_overlay(path: Path) -> str:
    """Its text; empty if there is none yet."""
    try:
        return read_small(path, LARGEST).decode("utf-8")  # every byte as it is
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UserError(f"{path} cannot be read ({why}); name another file: --catalog FILE.") from None


def _indented(text: str, rest: str) -> str:
    """As deep as the entries that are there."""
    deep = re.match(r"(?:[ \t]*(?:#.*)?\n)*([ ]+)\S", rest)
    return text if deep is None else re.sub(r"^  ", deep[1], text, flags=re.MULTILINE)
