"""Names in a catalog: each becomes a part of folders' and files' names, of partition keys and of commands."""

from __future__ import annotations

import re

from icd_assets.errors import UserError
from icd_assets.runtime.foreign import brief

# Beam data's file is the longest: 140 bytes of ours around a dataset's and a model's name, and 52 more while its
# manifest is written. All together may have the 255 that a file system gives to a name.
LONGEST = 60  # bytes of one name
LONGEST_PAIR = 63  # bytes of a dataset's and a model's together


def require_name(kind: str, name: str) -> None:
    """Raise ``UserError`` unless ``name`` can be a folder, a part of a file's name, and typed in a command."""
    problem = None
    if found := re.search(r"[|/,\[\]\s\\]", name):
        problem = rf"holds {found[0]!r}, one of | / \ , [ ] or a blank"
    elif not name.isprintable():
        problem = "holds what is no letter that can be shown"
    elif not name or name[0] in "-~" or name[-1] == "." or name[0] == ".":
        problem = "is empty, begins with - ~ or a dot, or ends in a dot"
    elif len(name.encode()) > LONGEST:
        problem = f"has {len(name.encode()):,} bytes, of which file names have room for {LONGEST}"
    if problem is not None:
        raise UserError(f"catalog: the name {brief(name)} of {kind} {problem}; take another name.")


def require_pair(dataset: str, model: str) -> None:
    """Raise ``UserError`` if the names of a cell's files would be longer than a file system takes."""
    if (together := len((dataset + model).encode())) > LONGEST_PAIR:
        raise UserError(
            f"the names {dataset} and {model} have {together} bytes together, of which file names have room for "
            f"{LONGEST_PAIR}; give one of them a shorter name in the catalog."
        )


def require_alias(name: str, alias: str) -> None:
    """Raise ``UserError`` for an alias of ``name`` that nobody could type."""
    if not alias.isprintable() or not alias.strip() or alias[0] == "-" or len(alias) > 200:
        raise UserError(
            f"catalog: the alias {brief(alias)} of {name} is blank, begins with -, is longer than 200 characters, "
            "or holds what cannot be shown; take another alias."
        )
