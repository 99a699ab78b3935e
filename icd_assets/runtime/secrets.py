"""Keys, tokens and passwords: no text of ours shows one, in whatever way a server wrote it back.

``redacted(text)`` is for every text that another program or server had a part in. It finds

- the key itself, in either case, reversed, or broken by line breaks;
- its characters escaped, once or several times: ``%41``, ``\\u0041``, ``\\x41``, ``&#65;``, ``&#x41;``, ``=41``;
- it in hexadecimal, base32, base64 and base64url, alone or inside of what was encoded with it, padded or not;
- users and passwords in addresses, and what follows ``Authorization:`` and ``Bearer``, whosever they are.

The text is read as plain, then unescaped again and again; each time letters' case, blanks and what differs between
two base64 alphabets are left out of it and of what is looked for. Its time grows with the text's length alone.
"""

from __future__ import annotations

import base64
import html
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from urllib.parse import quote, unquote

from icd_assets.runtime.foreign import first_line

HIDDEN = "***"
_SHORTEST = 6  # characters: a shorter text is in too many words, and is hidden where it stands alone
_LONGEST = 4096  # characters of a key; of a longer one its beginning is looked for
_ROUNDS = 5  # escapes of escapes of escapes
_NAMES = re.compile(
    r"(?:^|_)(?:API_?KEYS?|KEYS?|TOKENS?|SECRETS?|PASSWORDS?|PASSWD|PASSPHRASE|CREDENTIALS?)(?:$|_)", re.IGNORECASE
)
# Of variables whose names sound so and whose values are no secrets: paths, small numbers, switches.
_NO_SECRET = re.compile(r"[/~.].*|\d{1,5}|true|false|none", re.IGNORECASE | re.DOTALL)
_ADDRESS = re.compile(
    r"\b[a-z][a-z0-9+.-]{0,20}://(?:[^\s/:@]{0,500}:(?P<password>[^\s/@]{1,500})|(?P<token>[^\s/:@]{20,500}))@",
    re.IGNORECASE,
)
_WORD = re.compile(r"[a-z]{0,12}|[A-Z]{0,12}")
_ANYONES = (
    (re.compile(r"(?P<kept>\b[a-z][a-z0-9+.-]{0,20}://)[^\s/@'\"<>]{1,500}@", re.IGNORECASE), r"\g<kept>***@"),
    (
        re.compile(
            r"(?P<kept>\b(?:proxy-)?authorization\b[\\'\"]{0,3}\s{0,3}[:=,]\s{0,3}(?:b(?=['\"]))?[\\'\"]{0,3}"
            r"(?:(?:bearer|basic|token|digest|negotiate|ntlm|apikey)\s{1,3})?)[^\s'\"\\,;<>}]{3,4096}",
            re.IGNORECASE,
        ),
        r"\g<kept>***",
    ),
    (re.compile(r"(?P<kept>\bbearer\s{1,3})[A-Za-z0-9._~+/=-]{8,4096}", re.IGNORECASE), r"\g<kept>***"),
)


def redacted(text: str, keys: Iterable[str] = (), environment: Mapping[str, str] | None = None) -> str:
    """``text`` without ``keys``, without what the environment's variables named as keys hold, and without what
    addresses and ``Authorization`` hold of others."""
    every = {*keys, *secrets_of(os.environ if environment is None else environment)} - {""}
    for key in sorted(every, key=len):
        if len(key) < _SHORTEST:
            text = re.sub(rf"(?<!\w){re.escape(key)}(?!\w)", HIDDEN, text)
    if long := frozenset(key[:_LONGEST] for key in every if len(key) >= _SHORTEST):
        text = _without(text, _needles(long))
    for pattern, hidden in _ANYONES:
        text = pattern.sub(hidden, text)
    return text


def redacted_line(error: BaseException, keys: Iterable[str] = (), most: int = 200) -> str:
    """The first line of what another program says. The key goes before the other lines do: it may be on two."""
    text = redacted(str(error).strip()[:10_000], keys)
    return first_line(Exception(text) if text else error, most).rstrip(".")


def secrets_of(environment: Mapping[str, str]) -> set[str]:
    """The values of all variables that are named as keys are: ``HF_TOKEN``, ``WANDB_API_KEY``; and the passwords
    in the addresses of any other, such as ``MLFLOW_TRACKING_URI`` and ``HTTPS_PROXY``."""
    values = {value.strip() for name, value in environment.items() if _NAMES.search(name)}
    for value in environment.values():
        if "://" in value:
            values |= _passwords(value)
    return {value for value in values if len(value) >= _SHORTEST and not _NO_SECRET.fullmatch(value)}


def _passwords(text: str) -> set[str]:
    """As they stand in addresses and as they are sent. A word such as ``postgres`` is none: it is in too many
    sentences; nor is a user alone, unless as long as a token."""
    found = {match["password"] or match["token"] or "" for match in _ADDRESS.finditer(text[:_LONGEST])}
    return {one for one in found | {unquote(one) for one in found} if not _WORD.fullmatch(one)}


# ---- what is looked for ----------------------------------------------------------------------------


@lru_cache(maxsize=16)
def _needles(keys: frozenset[str]) -> tuple[frozenset[str], frozenset[str]]:
    """All that the keys may be written as, squeezed: as text, and as digits of hexadecimal."""
    texts: set[str] = set()
    hexes: set[str] = set()
    for key in keys:
        content = key.encode("utf-8", "surrogateescape")
        numbers = [str(byte) for byte in content]
        texts |= {key, key[::-1], content.decode("latin-1"), "".join(numbers), ",".join(numbers)}
        hexes |= {content.hex(), content[::-1].hex()}
        for inner in (content, quote(key, safe="").encode(), base64.b64encode(content), content.hex().encode()):
            texts |= {*_pieces(inner, 3, 6), *_pieces(inner, 5, 5)}
    squeezed = {"".join(_squeezed(text)[0]) for text in texts}
    return frozenset(text for text in squeezed if len(text) >= _SHORTEST - 1), frozenset(hexes)


def _pieces(content: bytes, group: int, bits: int) -> Iterator[str]:
    """The characters of base64 (32) that depend on ``content`` alone, for each of its places in a group."""
    encode = base64.b64encode if bits == 6 else base64.b32encode
    for before in range(group):
        whole = encode(bytes(before) + content).decode()
        yield whole[-(-before * 8 // bits) : (before + len(content)) * 8 // bits]


# ---- where it is -----------------------------------------------------------------------------------

_ESCAPED = re.compile(
    r"%(?P<percent>[0-9a-f]{2})|\\{1,8}u(?P<u>[0-9a-f]{4})|\\{1,8}u\{(?P<braced>[0-9a-f]{1,8})\}"
    r"|\\{1,8}U(?P<long>[0-9a-f]{8})|\\{1,8}x(?P<x>[0-9a-f]{2})|\\{1,8}(?P<octal>[0-3][0-7]{2})"
    r"|&\#x(?P<entity>[0-9a-f]{1,8});?|&\#(?P<decimal>[0-9]{1,8});?|&(?P<named>[a-z]{2,8});"
    r"|=(?P<printable>[0-9a-f]{2})|(?P<soft>=\r?\n)|\\{1,8}(?P<blank>[nrt])",
    re.IGNORECASE,
)
_SAME = str.maketrans(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ_", "abcdefghijklmnopqrstuvwxyz/", "+-\\ \t\n\r\v\f\x1c\x1d\x1e\x1f\x85\xa0"
)
_Spans = list[tuple[int, int]]  # of each character, where it is in the text as it was


def _without(text: str, needles: tuple[frozenset[str], frozenset[str]]) -> str:
    plain, hexes = needles
    now, spans = text, [(at, at + 1) for at in range(len(text))]
    found: _Spans = []
    for _ in range(_ROUNDS):
        found += _found(*_squeezed(now, spans), plain)
        found += _found(*_digits(now, spans), hexes)
        after, spans = _unescaped(now, spans)
        if after == now:
            break
        now = after
    parts, at = [], 0
    for start, end in sorted(found):
        if start >= at:
            parts += [text[at:start], HIDDEN]
        at = max(at, end)
    return "".join([*parts, text[at:]])


def _found(text: str, spans: _Spans, needles: frozenset[str]) -> Iterator[tuple[int, int]]:
    """Where a needle is; in base64 the characters at its ends hold a few bits of it, too."""
    for needle in needles:
        at = text.find(needle)
        while at >= 0:
            first, last = at, at + len(needle) - 1
            if first and spans[first - 1][1] == spans[first][0] and text[first - 1].isalnum():
                first -= 1
            if last + 1 < len(text) and spans[last + 1][0] == spans[last][1] and text[last + 1].isalnum():
                last += 1
            yield spans[first][0], spans[last][1]
            at = text.find(needle, at + len(needle))


def _squeezed(text: str, spans: _Spans | None = None) -> tuple[str, _Spans]:
    """Without blanks, case, and what differs between two alphabets of base64."""
    kept = text.translate(_SAME)
    if spans is None or len(kept) == len(text):
        return kept, spans or []
    return kept, [span for character, span in zip(text, spans, strict=True) if character.translate(_SAME)]


def _digits(text: str, spans: _Spans) -> tuple[str, _Spans]:
    """Without what stands between the bytes of a hexadecimal dump."""
    parts, where, at = [], [], 0
    for match in re.finditer(r"0x|[\s:,;._-]+", text, re.IGNORECASE):
        parts.append(text[at : match.start()])
        where += spans[at : match.start()]
        at = match.end()
    text = "".join([*parts, text[at:]])
    return text.translate(_LOWER), [*where, *spans[at:]]


_LOWER = str.maketrans("ABCDEF", "abcdef")


def _unescaped(text: str, spans: _Spans) -> tuple[str, _Spans]:
    """Each escaped character as itself, where its escape was."""
    parts, where, at = [], [], 0
    for match in _ESCAPED.finditer(text):
        if (character := _character(match)) is None:
            continue
        parts += [text[at : match.start()], character]
        where += spans[at : match.start()]
        where += [(spans[match.start()][0], spans[match.end() - 1][1])] * len(character)
        at = match.end()
    return "".join([*parts, text[at:]]), [*where, *spans[at:]]


def _character(match: re.Match[str]) -> str | None:
    kind, digits = str(match.lastgroup), match[str(match.lastgroup)]
    if kind in ("soft", "blank"):
        return ""
    if kind == "named":
        text = html.unescape(match[0])
        return text if text != match[0] else None
    number = int(digits, {"decimal": 10, "octal": 8}.get(kind, 16))
    return chr(number) if number < 0x110000 else None
