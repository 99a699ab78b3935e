"""Results come in the order of the inputs, few wait, and nothing runs on when the caller stops."""

from __future__ import annotations

import threading
import time

import pytest

from icd_assets.runtime.prefetch import WORKERS, prefetch


def test_order_and_bound():
    begun: list[int] = []

    def read(number: int) -> int:
        begun.append(number)
        time.sleep(0.001 * (number % 3))
        return -number

    taken = 0
    for given, found in enumerate(prefetch(read, range(200))):
        assert found == -given
        taken += 1
        assert len(begun) <= taken + 2 * WORKERS
    assert taken == 200


def test_an_error_comes_in_its_place_and_a_stop_drops_the_rest():
    def read(number: int) -> int:
        if number == 5:
            raise ValueError("five")
        return number

    results = prefetch(read, range(10_000))
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="five"):
        next(results)
    stopped = prefetch(read, iter([1, 2, 3]))
    next(stopped)
    stopped.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]
    assert list(prefetch(read, [])) == []
