"""Who may use the UI: its names, whether a token is needed, and whether a proxy in front asks for a login."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from icd_assets.errors import UserError
from icd_assets.runtime.http_callers import is_loopback

TOKEN, HOSTS, BEHIND_PROXY = "ICD_UI_TOKEN", "ICD_UI_HOSTS", "ICD_UI_BEHIND_PROXY"
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,252}[a-z0-9_])?")
_SECRET = re.compile(r"[A-Za-z0-9._~+/=-]{16,}")  # as openssl rand -hex or -base64 gives it


@dataclass(frozen=True, slots=True)
class Access:
    """``names``: those that the UI has besides loopback's, in lower case, without a port."""

    names: frozenset[str] = frozenset()
    token: str | None = None
    behind_proxy: bool = False

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Access:
        """From the variables that the command line, ``.env`` or a container sets."""
        words = [word.strip() for word in environ.get("ICD_UI_HOSTS", "").split(",")]
        return cls(
            frozenset(_checked_name(word) for word in words if word),
            _checked_token(environ.get("ICD_UI_TOKEN") or None),
            _switched_on(environ.get("ICD_UI_BEHIND_PROXY", "")),
        )

    def require_for(self, host: str) -> None:
        """Raise ``UserError`` where other machines would reach a UI that asks nobody who they are."""
        if not (is_loopback(host) or self.token or self.behind_proxy):
            raise UserError(
                f"--host {host} lets other machines give orders here; set {TOKEN} to a secret that they must send "
                f'(export {TOKEN}="$(openssl rand -hex 32)"), or give --behind-proxy where a login proxy stands '
                "in front."
            )


def _checked_name(word: str) -> str:
    name = word.lower().removesuffix(".")
    if _NAME.fullmatch(name) is None:
        raise UserError(
            f"{HOSTS}={word[:80]!r} is no name of a machine; give names such as gpu7.lab.org, without a port and "
            "with commas between them (--allow-host)."
        )
    return name


def _checked_token(token: str | None) -> str | None:
    if token is not None and _SECRET.fullmatch(token) is None:
        raise UserError(
            f"{TOKEN} is shorter than 16 letters and digits, or has others than these and . _ ~ + / = -; take one "
            "of openssl rand -hex 32."
        )
    return token


def _switched_on(text: str) -> bool:
    if text.lower() not in ("", "0", "1", "false", "true"):
        raise UserError(f"{BEHIND_PROXY}={text[:80]!r} is neither 1 nor 0; set one of them.")
    return text.lower() in ("1", "true")
