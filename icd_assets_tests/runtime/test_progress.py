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


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[progress.Reached]:
    reached: list[progress.Reached] = []

    class Seen(progress.Listener):
        def moved(self, asset: str, at: progress.Reached) -> None:
            reached.append(at)

    monkeypatch.setattr(progress, "current", Seen())
    return reached


def test_one_unit_says_nothing_about_three_hundred(clock: list[float], seen: list[progress.Reached]) -> None:
    """The first took as long as the model took to load, the others 0.05 s."""
    report = progress.counting(progress.Progress("rl_data", print), "questions")
    for done in range(1, 301):
        clock[0] = 19.5 + 0.05 * (done - 1)
        report(done, 300)
    assert [at.left for at in seen[:60]] == [None] * 60  # three seconds
    assert seen[61].left == pytest.approx(0.05 * 238, rel=0.05)
    assert max(at.left for at in seen if at.left is not None) < 15
    assert str(seen[99]) == "100/300 questions, 20.0/s, 10 s left"


def test_the_pace_is_that_of_the_last_half_minute(clock: list[float], seen: list[progress.Reached]) -> None:
    """A thousand answers were kept from an earlier run and came in a second; the others take one each."""
    report = progress.counting(progress.Progress("evaluation", lambda line: None), "prompts")
    for done in range(1000):
        clock[0] = done / 1000
        report(done, 2000)
    for done in range(1000, 1100):
        clock[0] = 1 + done - 1000
        report(done, 2000)
    assert seen[-1].rate == pytest.approx(1, rel=0.05)


def test_a_chunk_is_seen_from_within(clock: list[float], seen: list[progress.Reached]) -> None:
    report = progress.counting(progress.Progress("rl_data", print), "questions", 128)
    for part in range(2):
        inside = progress.within(report, 64, "prompts")
        for done in range(0, 641, 10):
            clock[0] += 1
            inside(done, 640)
        report(64 * (part + 1), 128)
    assert seen[32].words()[:2] == ["0/128 questions", "320/640 prompts"]
    assert seen[32].left == pytest.approx(96, rel=0.05)  # 96 questions, one a second
    assert seen[-1].words()[0] == "128/128 questions"


def test_who_listens_with_a_plain_function_gets_the_counts() -> None:
    got: list[tuple[int, int]] = []
    report = progress.counting(lambda done, total: got.append((done, total)), "pictures", 9)
    progress.within(report, 3, "prompts")(1, 2)
    report(1, 9)
    assert got == [(1, 9)]


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (59.6, "1 min 0 s"), (185, "3 min 5 s"), (5852, "1 h 37 min")]
)
def test_durations_read_as_people_say_them(seconds: float, words: str) -> None:
    assert progress.duration(seconds) == words
