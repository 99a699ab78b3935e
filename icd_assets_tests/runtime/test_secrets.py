"""A key is shown in no code that a server could write it back in."""

from __future__ import annotations

import base64
import html
import json
import time
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from icd_assets.runtime.secrets import redacted, secrets_of

KEYS = ("sk-Proj_aB3/xY+9z=Q", "hf_abcdefGHIJ0123456789", "p@ss'w\"ord&<x>", "aaaaaaaaaaaa")


def codes(key: str) -> Iterator[str]:
    raw = key.encode()
    yield from (key, key.upper(), key[::-1], f"{key[:5]}\r\n   {key[5:]}", f"{key[:5]}\\n{key[5:]}", repr(raw))
    percent = "".join(f"%{byte:02X}" for byte in raw)
    yield from (quote(key, safe=""), percent, quote(percent), quote(quote(percent)))
    unicode = "".join(f"\\u{ord(c):04x}" for c in key)
    yield from (json.dumps(key), unicode, json.dumps(unicode), "".join(f"\\x{byte:02x}" for byte in raw))
    entities = "".join(f"&#{byte};" for byte in raw)
    yield from (html.escape(key), entities, html.escape(entities), "".join(f"&#X{byte:04X}" for byte in raw) + ";")
    yield from (
        raw.hex(),
        raw.hex().upper(),
        raw.hex(":"),
        raw.hex(" "),
        " ".join(f"0x{byte:02x}" for byte in raw),
    )
    yield from ("".join(f"={byte:02X}" for byte in raw), "".join(f"\\{byte:03o}" for byte in raw), str(list(raw)))
    yield from (base64.b32encode(b"x" + raw).decode(), base64.b64encode(base64.b64encode(raw)).decode())
    for before in range(4):
        for after in range(3):
            whole = b"u:xy"[:before] + raw + b"zz"[:after]
            plain, safe = base64.b64encode(whole).decode(), base64.urlsafe_b64encode(whole).decode()
            yield from (plain, safe.rstrip("="), "\n".join(plain[n : n + 7] for n in range(0, len(plain), 7)))
            yield from (
                quote(plain, safe=""),
                plain.replace("/", "\\/"),
            )


@pytest.mark.parametrize("key", KEYS)
def test_a_key_in_any_code(key):
    for code in codes(key):
        shown = redacted(f"I know {code} well", [key], {})
        left = shown.removeprefix("I know ").removesuffix(" well")
        assert "***" in left and len(left) < 20, (code, shown)  # quotes, brackets, what pads


@pytest.fixture(params=["\\", "%25", "&amp;", "6b6b ", "k ", "kkkkkkkkkkkk", "a://", "authorization: "])
def long_text(request) -> str:
    return request.param * (60_000 // len(request.param))


def test_its_time_grows_with_the_length_alone(long_text):
    begun = time.monotonic()
    redacted(long_text, ["kkkkkkkkkkkkkkkkkkkkkkkk!"], {})
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("see https://user:pass@host/v1?a=b", "see https://***@host/v1?a=b"),
        ("{'Authorization': 'Bearer abcdef', 'b': 1}", "{'Authorization': 'Bearer ***', 'b': 1}"),
        ("authorization: Basic QWxhZGRpbg==", "authorization: Basic ***"),
        ("bearer abcdefghijkl is wrong", "bearer *** is wrong"),
        ("the authorization of a bearer failed", "the authorization of a bearer failed"),
        ("http://host:8000/v1 answered 401", "http://host:8000/v1 answered 401"),
    ],
)
def test_keys_of_anyone(text, shown):
    assert redacted(text, (), {}) == shown


def test_the_environments_keys():
    environment = {"HF_TOKEN": "hf_secret1", "WANDB_API_KEY": "w4ndb-key", "TOKENIZERS_PARALLELISM": "false"}
    environment |= {"SSL_KEY_FILE": "/etc/key", "MAX_TOKENS": "12345", "OTHER": "plain text"}
    assert secrets_of(environment) == {"hf_secret1", "w4ndb-key"}
    assert redacted("hf_secret1, w4ndb%2Dkey, plain text", (), environment) == "***, ***, plain text"


def test_a_short_key_is_hidden_where_it_stands_alone():
    assert redacted("abc is no abcd", ["abc"], {}) == "*** is no abcd"


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("https://me:s3cr3t-word@host/x", {"s3cr3t-word"}),
        ("postgresql://me:p%40ss%2Fw0rd@host/x", {"p%40ss%2Fw0rd", "p@ss/w0rd"}),
        (
            "https://ghp_0123456789abcdefghij@host, http://a:b2-c3-d4@proxy",
            {"ghp_0123456789abcdefghij", "b2-c3-d4"},
        ),
        ("postgresql://postgres:postgres@host/x", set()),  # it is in too many sentences
        ("https://anonymous@host/x", set()),
        ("a://" * 2000 + ":" * 2000, set()),
    ],
)
def test_the_passwords_of_addresses(value, found):
    assert secrets_of({"SOME_URI": value}) == found
