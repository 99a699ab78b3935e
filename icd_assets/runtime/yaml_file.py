"""One reader for YAML that users write: catalogs and ``dagster.yaml``. Anyone may have written it.

YAML 1.1 as before, but only what a settings file needs: keys that are text, each once; texts, finite numbers,
true, false, null; anchors and merge keys, as long as what they stand for is small when it is written out. A date
is read as its text. All else is refused with the line where it stands, before anything is built of it.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from icd_assets.runtime.foreign import brief, harmless
from icd_assets.runtime.small_file import read_small_text

LARGEST = 1 << 20  # bytes of such a file
_DEEPEST = 50
_WRITTEN_OUT = 100_000  # values, and texts' characters by the tens
_LARGEST_NUMBER = 1 << 63
_LONGEST_NUMBER = 40  # characters
_TAG = "tag:yaml.org,2002:"
_MERGE = object()
# Controls, but for line breaks and tabs, and halves of characters.
_NO_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff]")
# libyaml is ten times as fast; it is in every wheel of the package.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_RESOLVER: Any = yaml.resolver.Resolver()


def read_yaml(path: Path) -> Any:
    """What a file holds; ``OSError`` as of :func:`read_small_text`, ``ValueError`` for what is refused."""
    return parse_yaml(read_small_text(path, LARGEST))


def parse_yaml(text: str) -> Any:
    """What ``text`` holds; None if that is nothing. Raises ``ValueError``: the line, and what is wrong with it."""
    if len(text) > LARGEST:
        raise ValueError(f"it has {len(text):,} characters, of which at most {LARGEST:,} are read")
    try:
        return _Composer(text).document()
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark is not None else ""
        raise ValueError(f"{line}{harmless(str(error.problem or error.context))[:200]}") from None
    except (yaml.YAMLError, UnicodeError) as error:
        raise ValueError(harmless(" ".join(str(error).split()))[:200]) from None


@dataclass
class _Part:
    """A value, and how much it is when every anchor in it is written out."""

    value: Any
    size: int


class _Composer:
    def __init__(self, text: str) -> None:
        self._events: Iterator[Any] = yaml.parse(text, Loader=_Loader)
        self._anchors: dict[str, _Part | None] = {}  # None: it is being read
        self._size = 0

    def document(self) -> Any:
        """The one document of the text."""
        next(self._events)  # the stream's start
        event = next(self._events)
        if isinstance(event, yaml.StreamEndEvent):
            return None
        value = self._part(next(self._events), 1).value
        next(self._events)  # the document's end
        event = next(self._events)
        if not isinstance(event, yaml.StreamEndEvent):
            raise _refusal(event, "a second document begins; keep one")
        return None if value is _MERGE else value

    def _part(self, event: Any, depth: int) -> _Part:
        if depth > _DEEPEST:
            raise _refusal(event, f"more than {_DEEPEST} levels within one another")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            part = _Part(_scalar(event), 1 + len(event.value) // 10)
            self._count(event, part.size)
        elif isinstance(event, yaml.SequenceStartEvent):
            _require_plain_tag(event, "seq")
            part = self._list(event, depth)
        else:
            _require_plain_tag(event, "map")
            part = self._mapping(event, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = part
        return part

    def _alias(self, event: Any) -> _Part:
        name = brief(event.anchor)
        if event.anchor not in self._anchors:
            raise _refusal(event, f"there is no anchor {name} above it")
        part = self._anchors[event.anchor]
        if part is None:
            raise _refusal(event, f"the anchor {name} holds itself")
        self._count(event, part.size)
        return _Part(copy.deepcopy(part.value) if isinstance(part.value, dict | list) else part.value, part.size)

    def _list(self, start: Any, depth: int) -> _Part:
        self._count(start, 1)
        found, size = [], 1
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            part = self._part(event, depth + 1)
            found.append("<<" if part.value is _MERGE else part.value)
            size += part.size
        return _Part(found, size)

    def _mapping(self, start: Any, depth: int) -> _Part:
        self._count(start, 1)
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        merges, size = False, 1
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._part(event, depth + 1)
            value = self._part(next(self._events), depth + 1)
            size += key.size + value.size
            if key.value is _MERGE:
                if merges:
                    raise _refusal(event, "the key '<<' occurs twice; give it a list")
                merges = True
                for one in value.value if isinstance(value.value, list) else [value.value]:
                    if not isinstance(one, dict):
                        raise _refusal(event, f"'<<' merges sections, and {brief(one)} is none")
                    merged = {**one, **merged}
                continue
            if not isinstance(key.value, str):
                raise _refusal(event, f"the key {brief(key.value)} is no text; put it in quotes")
            if key.value in own:
                raise _refusal(event, f"the key {brief(key.value)} occurs twice; keep one")
            own[key.value] = "<<" if value.value is _MERGE else value.value
        return _Part({**merged, **own} if merges else own, size)

    def _count(self, event: Any, more: int) -> None:
        self._size += more
        if self._size > _WRITTEN_OUT:
            raise _refusal(event, f"with its anchors written out it has more than {_WRITTEN_OUT:,} values")


def _scalar(event: Any) -> Any:
    text: str = event.value
    if (found := _NO_TEXT.search(text)) is not None:
        raise _refusal(event, f"{brief(text)} holds {found[0]!r}, which is no character of a text")
    explicit = None if event.tag in (None, "!") else event.tag
    if explicit == f"{_TAG}str" or (explicit is None and not event.implicit[0]):
        return text
    implied: str = _RESOLVER.resolve(yaml.ScalarNode, text, (True, False)).removeprefix(_TAG)
    if explicit is not None and explicit != f"{_TAG}{implied}":
        raise _refusal(event, f"the tag {brief(harmless(explicit.replace(_TAG, '!!')))} is not read; leave it out")
    match implied:
        case "null":
            return None
        case "bool":
            return text.lower() in ("yes", "true", "on")
        case "int" | "float":
            return _number(event, text, implied)
        case "merge":
            return _MERGE
        case _:  # a date, too, is its text
            return text


def _number(event: Any, text: str, kind: str) -> int | float:
    shown = brief(text)
    if ":" in text:
        raise _refusal(event, f"{shown} is a number in base sixty to YAML; put it in quotes")
    plain = text.replace("_", "")
    if len(plain) > _LONGEST_NUMBER + 64 * plain.lstrip("+-").startswith("0b"):
        raise _refusal(event, f"{shown} is a number of {len(plain):,} characters")
    digits = plain.lstrip("+-")
    try:
        if kind == "float":
            value: int | float = float(plain.lower().replace(".inf", "inf").replace(".nan", "nan"))
        elif digits[:2].lower() in ("0b", "0x"):
            value = int(plain, 0)
        elif digits.startswith("0") and digits != "0":
            value = int(plain, 8)
        else:
            value = int(plain)
    except ValueError:
        raise _refusal(event, f"{shown} is no number; put it in quotes") from None
    if isinstance(value, float) and not math.isfinite(value):
        raise _refusal(event, f"{shown} is not a finite number")
    if isinstance(value, int) and not -_LARGEST_NUMBER <= value < _LARGEST_NUMBER:
        raise _refusal(event, f"{shown} is a number of more than 64 bits")
    return value


def _require_plain_tag(event: Any, kind: str) -> None:
    if event.tag not in (None, "!", f"{_TAG}{kind}"):
        shown = brief(harmless(event.tag.replace(_TAG, "!!")))
        raise _refusal(event, f"the tag {shown} is not read; leave it out")


def _refusal(event: Any, problem: str) -> ValueError:
    return ValueError(f"line {event.start_mark.line + 1}: {problem}")
