"""A server's text around a key, in every code: the key is in nothing that is shown."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

from icd_assets.errors import UserError
from icd_assets.runtime.secrets import redacted

SUFFIX = ".txt"
KEY = "sk-Proj_aB3/xY+9z=Q7"


def seeds() -> Iterable[bytes]:
    yield b"\x00your key is not valid: "
    yield b'\x03{"error": {"message": "Authorization: Bearer \\u0041%41&#65;"}}'
    yield b"\x07https://user:pass@host/v1?key=" + base64.b64encode(KEY.encode())


def read(path: Path) -> object:
    """The first byte says where and in which code the key stands in the rest."""
    content = path.read_bytes()
    how, text = content[0] if content else 0, content[1:]
    at = (how >> 3) * len(text) // 32
    before, after = text[:at], text[at:]
    plain = KEY.encode()
    code = how % 8
    if code == 1:
        plain = quote(KEY, safe="").encode()
    elif code == 2:
        plain = plain.hex(" " if how & 8 else ":").encode()
    elif code == 3:
        plain = "".join(f"\\u{ord(c):04x}" for c in KEY).encode()
    elif code == 4:
        plain = "".join(f"&#{ord(c)};" for c in KEY).encode()
    elif code == 5:
        plain = b"\n  ".join([plain[:7], plain[7:]])
    if code in (6, 7):  # all of it is encoded, so that the key is at any offset
        encode = base64.b64encode if code == 6 else base64.urlsafe_b64encode
        shown = redacted(encode(before + plain + after).decode(), [KEY], {})
        left = shown.replace("***", "").rstrip("=")
        for start in range(4):
            part = left[start:]
            part = part[: len(part) - (len(part) % 4 == 1)]
            assert plain not in base64.b64decode(part + "===", altchars=b"-_" if code == 7 else None)
    else:
        shown = redacted((before + b"\n\n" + plain + b"\n\n" + after).decode("utf-8", "replace"), [KEY], {})
    assert "***" in shown
    assert KEY not in shown and KEY.encode().hex() not in shown and json.dumps(KEY) not in shown
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        raise UserError(shown.encode("utf-8", "replace").decode()) from None  # as a sentence may show it
    return shown
