"""Who sends an HTTP request: our own page, a program, or another site's page in a browser.

Any page that a user has open can send requests to this machine. What it cannot do is choose these headers:

1. Host: a page whose DNS server points its name here (DNS rebinding) still sends that name.
2. Origin: of another page's posts and websockets it is that page's.
3. Sec-Fetch-Site: of another page's images, frames and scripts, which send no Origin, it is ``cross-site``.

All that listens on a port asks these functions. ``X-Forwarded-Host`` and its kind are not read: anybody can send
them.
"""

from __future__ import annotations

import re
from collections.abc import Container, MutableMapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from icd_assets.runtime.foreign import brief

Scope = MutableMapping[str, Any]  # ASGI's, as starlette has it, which not every command should import

FOREIGN = "requests of another site's page are not answered."
_ONCE = (
    *("host", "origin", "content-type", "content-length", "transfer-encoding", "authorization"),
    *("sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest"),
)


def unclear(scope: Scope) -> str | None:
    """Why two readers could take the request for two different ones; None if there is no reason."""
    if twice := [name for name in _ONCE if len(_values(scope, name)) > 1]:
        return f"the header {twice[0]} is there twice; send it once."
    if not scope["path"].startswith("/"):
        return f"the target {brief(scope['path'])} is no path; send one that begins with a slash."
    length, coding = _value(scope, "content-length"), _value(scope, "transfer-encoding")
    if length is not None and not (length.isascii() and length.isdecimal() and len(length) < 20):
        return f"the header content-length is no number of bytes ({brief(length)})."
    if coding is None:
        return None
    if length is not None or scope.get("http_version") == "1.0" or coding.lower() != "chunked":
        return "the length of the body is unclear; send either content-length, or transfer-encoding: chunked."
    return None


def names_this(host: str, names: Container[str] = ()) -> bool:
    """Whether a Host header names this server: by loopback's, by one of ``names`` (in lower case), in numbers.

    A number is an address that no DNS server can point elsewhere, so any is allowed. So is any port: behind an
    SSH tunnel it is another one than ours.
    """
    found = re.fullmatch(r"(\[[^\[\]]*\]|[^\[\]:]*)(:[0-9]{1,5})?", host.lower())
    name = "" if found is None else found[1].removesuffix(".")
    return name == "localhost" or (name != "" and name in names) or _address(name) is not None


def of_another_site(scope: Scope) -> bool:
    """Whether a page that is not of this server sends it; http or https is a proxy's matter."""
    origin = _value(scope, "origin")
    if origin is not None:
        scheme, _, place = origin.lower().partition("://")
        if scheme not in ("http", "https") or place != (_value(scope, "host") or "").lower():
            return True
    return _value(scope, "sec-fetch-site") not in (None, "none", "same-origin")


def _values(scope: Scope, name: str) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name.encode()]


def _value(scope: Scope, name: str) -> str | None:
    return next(iter(_values(scope, name)), None)


def is_address(host: str) -> bool:
    """Whether it is given in numbers, IPv6 without brackets."""
    return _address(_bracketed(host)) is not None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it, given by a name or in numbers, IPv6 without brackets."""
    found = _address(_bracketed(host))
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        return found.ipv4_mapped.is_loopback
    return host == "localhost" if found is None else found.is_loopback


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _address(name: str) -> IPv4Address | IPv6Address | None:
    """An address in numbers, IPv6 in brackets; None for a name."""
    try:
        found = ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
    return found if isinstance(found, IPv6Address) == name.startswith("[") else None
