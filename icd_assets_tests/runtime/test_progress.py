"""Progress reaches who listens, and the time left is that of the part at work."""

from __future__ import annotations

import pytest

from icd_assets.runtime import progress


def test_time_left_starts_anew_with_each_part(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    seen: list[float | None] = []

    class Seen(progress.Listener):
        def moved(self, asset: str, reached: progress.Reached) -> None:
            seen.append(reached.left)

    lines: list[str] = []
    progress.listen(Seen())
    try:
        report = progress.Progress("evaluation", lines.append)
        for now, done, total in ((0, 0, 10), (20, 5, 10), (40, 10, 10), (40, 20, 100), (50, 60, 100)):
            clock[0] = now
            report(done, total)
    finally:
        progress.listen(progress.Listener())
    assert seen == [None, 20, 0, None, 10]  # the first report of a part says nothing about its pace
    assert lines[-2:] == ["evaluation: 10/10, 4.0 s each, 0 s left", "evaluation: 60/100, 4.0/s, 10 s left"]
