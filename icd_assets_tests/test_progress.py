"""Progress reaches who listens, and the time left is that of the part at work."""

from __future__ import annotations

import pytest

from icd_assets import progress


def test_time_left_starts_anew_with_each_part(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    seen: list[float] = []

    class Ear(progress.Listener):
        def moved(self, asset: str, done: int, total: int, left: float) -> None:
            seen.append(left)

    lines: list[str] = []
    progress.listen(Ear())
    try:
        report = progress.Progress("evaluation", lines.append)
        for now, done, total in ((0, 0, 10), (20, 5, 10), (40, 10, 10), (40, 0, 100), (50, 50, 100)):
            clock[0] = now
            report(done, total)
    finally:
        progress.listen(progress.Listener())
    assert seen == [0, 20, 0, 0, 10]
    assert lines[-1] == "evaluation: 50/100, about 10 s left"
