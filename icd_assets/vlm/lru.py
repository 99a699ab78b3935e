"""A least-recently-used cache bounded by bytes, for tensors that recur."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class ByteLru(Generic[Key, Value]):
    """Keeps the values used last, as long as their ``size_of`` sum fits ``limit`` bytes.

    A value larger than the limit is handed through and not kept. Threads may share it; one of them makes a value.
    ``dropped`` gets each value that has to go.
    """

    def __init__(
        self,
        limit: int,
        size_of: Callable[[Value], int],
        dropped: Callable[[Key, Value], object] = lambda key, value: None,
    ) -> None:
        self.limit = limit
        self.size = 0
        self._size_of = size_of
        self._dropped = dropped
        self._values: OrderedDict[Key, Value] = OrderedDict()
        self._lock = threading.RLock()

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """The kept value, or a new one from ``make``."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
            value = make()
            self.keep(key, value)
            return value

    def find(self, key: Key) -> Value | None:
        """The kept value, if there is one."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def keep(self, key: Key, value: Value) -> None:
        """Keep a value whose key has none."""
        with self._lock:
            self._values[key] = value
            self.size += self._size_of(value)
            while self.size > self.limit:
                old, dropped = self._values.popitem(last=False)
                self.size -= self._size_of(dropped)
                self._dropped(old, dropped)

    def __len__(self) -> int:
        return len(self._values)
