"""What is found out once and then believed, for things that are judged together."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from icd_assets.errors import UserError

Value = TypeVar("Value")


class Known(Generic[Value]):
    """The first answer, or the first complaint, under each key.

    A build has none: what it reads may change during hours of waiting, and is read again.
    """

    def __init__(self) -> None:
        self._found: dict[Hashable, Value | UserError] = {}

    def get(self, key: Hashable, ask: Callable[[], Value]) -> Value:
        if key not in self._found:
            try:
                self._found[key] = ask()
            except UserError as error:
                self._found[key] = error
        found = self._found[key]
        if isinstance(found, UserError):
            raise found
        return found
