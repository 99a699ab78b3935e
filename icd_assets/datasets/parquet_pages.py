"""How many values the pages of a Parquet file declare: a list of a row may have millions in a few bytes.

Arrow has no such count: a file's rows are in its footer, but the values of lists within them only in the headers
of their pages, which are read here as they are written (Thrift's compact form), and none of the pages.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from io import BufferedReader, BytesIO
from typing import Any

_MAGIC = 8  # bytes at the end: the footer's length, and PAR1
_HEADER, _LONGEST_HEADER = 1 << 12, 16 << 20  # bytes, as long as Arrow takes one
_LARGEST_FOOTER = 8 << 20  # bytes; a larger one takes longer than its file
_MOST_PAGES = 100_000
_DEEPEST = 16
_GROUPS, _COLUMNS, _OF_COLUMN = 4, 1, 3  # fields of the footer…
_LENGTH, _DATA, _DICTIONARY = 7, 9, 11  # …of a column in it
_COMPRESSED, _KINDS, _VALUES = 3, (5, 8), 1  # …and of a page's header: data pages of both versions


def declared_values(file: BufferedReader | BytesIO, columns: Collection[int]) -> int:
    """The most values that reading one of ``columns`` (leaves, by their places) gives.

    Raises ``ValueError`` for what is not as Parquet has it."""
    try:
        return _declared_values(file, columns)
    except (LookupError, TypeError, AttributeError, OverflowError, RecursionError):
        raise ValueError("its metadata is not as Parquet has it") from None


def _declared_values(file: BufferedReader | BytesIO, columns: Collection[int]) -> int:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _MAGIC))
    length = int.from_bytes(file.read(4), "little")
    if not 0 < length <= min(size - _MAGIC, _LARGEST_FOOTER):
        raise ValueError("it has no footer of ordinary length")
    file.seek(size - _MAGIC - length)
    groups = _Thrift(file.read(length)).struct().get(_GROUPS, [])
    most, pages = 0, 0
    for column in columns:
        values = 0
        for group in groups:
            facts = group[_COLUMNS][column][_OF_COLUMN]
            starts = [facts[name] for name in (_DATA, _DICTIONARY) if facts.get(name, 0) > 0]
            for header in _headers(file, min(starts, default=0), facts[_LENGTH]):
                values += max((header[kind][_VALUES] for kind in _KINDS if kind in header), default=0)
                pages += 1
                if pages > _MOST_PAGES:
                    raise ValueError(f"it has over {_MOST_PAGES} pages")
        most = max(most, values)
    return most


def _headers(file: BufferedReader | BytesIO, at: int, length: int) -> Iterator[dict[int, Any]]:
    end = at + length
    while at < end:
        for most in (_HEADER, _LONGEST_HEADER):
            file.seek(at)
            thrift = _Thrift(file.read(min(most, end - at)))
            try:
                header = thrift.struct()
                break
            except IndexError:
                if most == _LONGEST_HEADER or end - at <= most:
                    return  # what follows the last page
        if header[_COMPRESSED] < 0 or thrift.at + header[_COMPRESSED] <= 0:
            raise ValueError("a page is shorter than nothing")
        yield header
        at += thrift.at + header[_COMPRESSED]


class _Thrift:
    """Structs as dicts, by the numbers of their fields. ``IndexError`` where the bytes end before they do."""

    def __init__(self, content: bytes) -> None:
        self._content, self.at = content, 0

    def struct(self, depth: int = 0) -> dict[int, Any]:
        if depth > _DEEPEST:
            raise ValueError("its metadata is deeper than any")
        found: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._integer()
            kind = head & 15
            found[number] = kind == 1 if kind in (1, 2) else self._value(kind, depth)
        return found

    def _value(self, kind: int, depth: int) -> Any:
        match kind:
            case 1 | 2 | 3:
                return self._byte()
            case 4 | 5 | 6:
                return self._integer()
            case 7:
                return self._skip(8)
            case 8:
                return self._skip(self._number())
            case 9 | 10:
                head = self._byte()
                count = head >> 4 if head >> 4 < 15 else self._number()
                return [self._value(head & 15, depth + 1) for _ in range(count)]
            case 11 if count := self._number():
                kinds = self._byte()
                for _ in range(count):
                    self._value(kinds >> 4, depth + 1), self._value(kinds & 15, depth + 1)
            case 12:
                return self.struct(depth + 1)
            case 11:
                pass
            case _:
                raise ValueError("its metadata has values of no kind")
        return None

    def _byte(self) -> int:
        self.at += 1
        return self._content[self.at - 1]

    def _skip(self, count: int) -> None:
        self.at += count
        if self.at > len(self._content):
            raise IndexError

    def _number(self) -> int:
        found = shift = 0
        while True:
            byte = self._byte()
            found |= (byte & 127) << shift
            if byte < 128:
                return found
            if (shift := shift + 7) > 63:
                raise ValueError("its metadata has a number that is too long")

    def _integer(self) -> int:
        found = self._number()
        return (found >> 1) ^ -(found & 1)
