"""The zip in which ``torch.save`` keeps a pickle and its numbers, taken only as torch writes it.

Readers of zips differ in what they forgive: which of two entries of one name is meant, whether a name's case
matters, what stands before, between or after the entries, whose sizes hold where two places state them. A file in
which all of them find the same bytes under the same names leaves nothing to forgive: its entries follow each other
without gaps from the first byte to the directory, both of an entry's headers agree, and the names are torch's.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from icd_assets.runtime.foreign import printable

Content = bytes | memoryview
PICKLE, ORDER, NUMBERS = "data.pkl", "byteorder", "data/"

_OTHERS = frozenset({PICKLE, ORDER, "version", ".format_version", ".storage_alignment", ".data/serialization_id"})
_NUMBERS = re.compile(r"data/[0-9]{1,20}")  # before torch 1.7 the storage's address
_LARGEST_DIRECTORY = 64 << 20  # bytes; 700,000 entries
_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_END64, _LOCATOR = struct.Struct("<4sQ2H2I4Q"), struct.Struct("<4sIQI")
_TRAILER, _TRAILER64 = struct.Struct("<4s3I"), struct.Struct("<4sI2Q")
_ALL_ONES = 0xFFFFFFFF
_TRAILED, _UTF8 = 0x8, 0x800


class Inexact(ValueError):
    """The file is no zip as torch writes it; the message goes on after the file's name."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Where its bytes lie in the file."""

    start: int
    size: int
    crc: int


@dataclass(frozen=True, slots=True)
class _Listed:
    """An entry as the directory has it."""

    name: bytes
    flags: int
    crc: int
    size: int
    offset: int


def entries(content: Content) -> dict[str, Entry]:
    """By their names inside the archive's one folder; raises :class:`Inexact`."""
    try:
        start, end, count = _directory(content)
        listed = list(_listed(content, start, end, count))
        found: dict[str, Entry] = {}
        folder, reached = None, 0
        for one in sorted(listed, key=lambda one: one.offset):
            if one.offset != reached:
                raise _damaged("its entries overlap or leave gaps")
            whole = one.name.decode("utf-8" if one.flags & _UTF8 else "ascii")
            within, slash, name = whole.partition("/")
            folder = within if folder is None else folder
            known = name in _OTHERS or _NUMBERS.fullmatch(name)
            if not slash or not within or within != folder or not known or name in found:
                how = "twice there" if name in found else "none that torch.save writes"
                raise Inexact(f"refused, its entry {printable(whole[:80])} is {how}")
            found[name], reached = _entry(content, one)
    except (struct.error, UnicodeDecodeError):
        raise _damaged("its directory is damaged") from None
    if reached != start:
        raise _damaged("something stands between its entries and their directory")
    if PICKLE not in found:
        raise Inexact(f"refused, it has no entry {PICKLE}")
    return found


def _damaged(what: str) -> Inexact:
    return Inexact(f"truncated, or not written by torch.save ({what})")


def _directory(content: Content) -> tuple[int, int, int]:
    """(where it begins, where it ends, how many entries it has)"""
    end = len(content) - _END.size
    if end < 0:
        raise _damaged("File is not a zip file")
    mark, disk, first_disk, here, count, length, start, comment = _END.unpack_from(content, end)
    if mark != b"PK\5\6" or comment or disk or first_disk or here != count:
        raise _damaged("File is not a zip file, or not to its last byte")
    locator = end - _LOCATOR.size
    if locator >= 0 and content[locator : locator + 4] == b"PK\6\7":
        _, disk, place, disks = _LOCATOR.unpack_from(content, locator)
        end = locator - _END64.size
        if end < 0 or disk or disks != 1 or place != end:
            raise _damaged("its directory is damaged")
        mark, size, _, _, disk, first_disk, here, *large = _END64.unpack_from(content, end)
        if mark != b"PK\6\6" or size != _END64.size - 12 or disk or first_disk or here != large[0]:
            raise _damaged("its directory is damaged")
        small = ((count, 0xFFFF), (length, _ALL_ONES), (start, _ALL_ONES))
        if any(s not in (a, ones) for (s, ones), a in zip(small, large, strict=True)):
            raise _damaged("it has two directories")
        count, length, start = large
    if start + length != end or not count:
        raise _damaged("its directory is not where its end says")
    if length > _LARGEST_DIRECTORY:
        raise Inexact(f"refused, its directory has {length:,} bytes, more than a checkpoint's")
    return start, end, count


def _listed(content: Content, start: int, end: int, count: int) -> Iterator[_Listed]:
    for _ in range(count):
        mark, _, _, flags, method, _, _, crc, packed, size, *lengths, disk, _, _, offset = _CENTRAL.unpack_from(
            content, start
        )
        name_length, extra_length, comment = lengths
        after = start + _CENTRAL.size + name_length + extra_length
        if mark != b"PK\1\2" or comment or disk or after > end or flags & ~(_TRAILED | _UTF8):
            raise _damaged("its directory is damaged")
        if method:
            raise Inexact("has compressed entries, which torch.save never writes")
        name = bytes(content[start + _CENTRAL.size : start + _CENTRAL.size + name_length])
        extra = bytes(content[after - extra_length : after])
        packed, size, offset = _large(extra, packed, size, offset)
        if packed != size:
            raise _damaged("an entry has two sizes")
        yield _Listed(name, flags, crc, size, offset)
        start = after
    if start != end:
        raise _damaged("its directory is longer than its entries")


def _large(extra: bytes, packed: int, size: int, offset: int) -> tuple[int, int, int]:
    """Sizes and places of four gigabytes and more stand in an extra field, in this order: size, packed, offset."""
    large = [value == _ALL_ONES for value in (size, packed, offset)]
    if not any(large) and not extra:
        return packed, size, offset
    if len(extra) != 4 + 8 * sum(large) or struct.unpack_from("<2H", extra) != (1, 8 * sum(large)):
        raise _damaged("an entry has fields that torch.save never writes")
    given = iter(struct.unpack_from(f"<{sum(large)}Q", extra, 4))
    size, packed, offset = (next(given) if is_large else v for is_large, v in zip(large, (size, packed, offset)))  # noqa: B905
    return packed, size, offset


def _entry(content: Content, listed: _Listed) -> tuple[Entry, int]:
    """The entry, and where the next one begins."""
    mark, _, flags, method, _, _, crc, packed, size, name_length, extra_length = _LOCAL.unpack_from(
        content, listed.offset
    )
    name = listed.offset + _LOCAL.size
    start = name + name_length + extra_length
    trailed = bool(flags & _TRAILED)
    sizes = {listed.size, min(listed.size, _ALL_ONES), _ALL_ONES} | ({0} if trailed else set())
    same = mark == b"PK\3\4" and flags == listed.flags and not method and packed in sizes and size in sizes
    if not same or crc not in ((listed.crc, 0) if trailed else (listed.crc,)):
        raise _damaged("an entry's own header differs from the directory")
    if bytes(content[name : name + name_length]) != listed.name:
        raise Inexact(
            f"refused, its entry {printable(listed.name[:80].decode('utf-8', 'replace'))} has two names in it"
        )
    end = start + listed.size
    if end > len(content):
        raise _damaged("an entry is larger than the file")
    return Entry(start, listed.size, listed.crc), end + (_trailer(content, end, listed) if trailed else 0)


def _trailer(content: Content, at: int, listed: _Listed) -> int:
    """How long the repetition of an entry's sizes is that stands after it."""
    stated = (b"PK\7\x08", listed.crc, listed.size, listed.size)
    for form in (_TRAILER64, _TRAILER):
        if at + form.size <= len(content) and form.unpack_from(content, at) == stated:
            return form.size
    raise _damaged("an entry's sizes differ from the directory")
