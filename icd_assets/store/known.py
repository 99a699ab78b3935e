"""Digests of what lies outside the results root, hashed once for all cells that are judged together."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from icd_assets.errors import UserError
from icd_assets.store.manifest import Input


class Known:
    """The first answer, or the first complaint, under each key.

    A build has none: what it reads may change during hours of waiting, and is hashed again.
    """

    def __init__(self) -> None:
        self._found: dict[Hashable, Input | UserError] = {}

    def get(self, key: Hashable, ask: Callable[[], Input]) -> Input:
        if key not in self._found:
            try:
                self._found[key] = ask()
            except UserError as error:
                self._found[key] = error
        found = self._found[key]
        if isinstance(found, UserError):
            raise found
        return found
