"""What mkdocstrings shows of our docstrings, as Markdown understands it."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:mod|class|func|meth):`~?([\w.]+)`")
_LIST_AFTER_TEXT = re.compile(r"(?<=\S)\n(?=1\. )")


class Docstrings(griffe.Extension):
    """Links roles such as ``:class:`Store```, and sets lists apart from the sentence before them."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = markdown(obj.docstring.value, obj.module.path)


def markdown(docstring: str, module: str) -> str:
    """A docstring with its roles as links (where the API pages have the target) and its lists as lists."""
    return _LIST_AFTER_TEXT.sub("\n\n", _ROLE.sub(lambda role: _link(role[1], module), docstring))


def _link(target: str, module: str) -> str:
    if target.startswith("."):
        target = module.rpartition(".")[0] + target
    elif "." not in target:
        target = f"{module}.{target}"
    return f'<autoref identifier="{target}" optional><code>{target.rpartition(".")[2]}</code></autoref>'
