"""The curve is small enough for the UI to show it at once, and is a picture with axes and whole titles."""

from __future__ import annotations

import base64
import math
import re
from xml.etree import ElementTree

import pytest

from icd_assets.assets.figures import Markdown, Score, bars, curve


def picture(drawn: Markdown) -> ElementTree.Element:
    assert len(drawn.text) < 1000
    return ElementTree.fromstring(base64.b64decode(drawn.text.partition("base64,")[2].removesuffix(")")))


def paths(svg: ElementTree.Element) -> list[str]:
    """The axes, then the lines."""
    return [node.attrib["d"] for node in svg.iter() if node.tag.endswith("path")]


def points(path: str) -> list[tuple[int, int]]:
    return [(int(x), int(y)) for x, y in re.findall(r"(-?\d+),(-?\d+)", path)]


def texts(svg: ElementTree.Element) -> dict[str, tuple[int, int]]:
    """Text → where it begins."""
    return {
        f"{node.text}@{node.attrib['x']}": (int(node.attrib["x"]), int(node.attrib["y"]))
        for node in svg.iter()
        if node.tag.endswith("text")
    }


@pytest.mark.parametrize("epochs", [1, 2, 3, 50, 1000])
@pytest.mark.parametrize("names", [("grpo_loss", "val_expected_reward"), ("train_loss", "val_loss")])
def test_a_curve_is_inline_whatever_its_length(epochs: int, names: tuple[str, str]) -> None:
    history = [{names[0]: -10.0 / (n + 1), names[1]: -1.23456e-7 * n * n} for n in range(epochs)]
    svg = picture(curve(history, names))
    axes, *lines = paths(svg)
    assert axes == "M38 12v40h112M198 12v40h112"
    assert len(lines) == 2
    for line, left in zip(lines, (38, 198), strict=True):
        assert points(line)[0][0] == left
        assert all(left <= x <= left + 112 and 12 <= y <= 52 for x, y in points(line))
        assert epochs == 1 or points(line)[-1][0] == left + 112
    width, height = map(int, svg.attrib["viewBox"].split()[2:])
    for text, (x, y) in texts(svg).items():
        letters = text.rpartition("@")[0]
        room = 122 if x in (38, 198) else 38  # a title up to the next panel, a value up to its axis
        assert 4 * len(letters) <= room
        assert x + 4 * len(letters) <= width and y < height


def test_both_axes_have_their_values_and_the_titles_are_whole() -> None:
    history = [{"rce_loss": 2.0, "val_expected_reward": 0.5}, {"rce_loss": 1.0, "val_expected_reward": 0.25}] * 4
    shown = [
        text.rpartition("@")[0] for text in texts(picture(curve(history, ("rce_loss", "val_expected_reward"))))
    ]
    assert shown[:5] == ["training loss (RCE) by epoch", "2", "1", "1", "8"]
    assert shown[5:] == ["validation reward by epoch", "0.5", "1", "0.25", "8"]


def test_falling_is_drawn_falling() -> None:
    _, falling, rising = paths(picture(curve([{"a": 1.0, "b": 0.0}, {"a": 0.0, "b": 1.0}], ("a", "b"))))
    assert (falling, rising) == ("M38,12 150,52", "M198,52 310,12")


def test_an_epoch_that_is_no_number_is_left_out() -> None:
    history = [{"a": 1.0, "b": math.nan}, {"a": math.inf, "b": math.nan}, {"a": 0.0, "b": math.nan}]
    _, line, none = paths(picture(curve(history, ("a", "b"))))
    assert (points(line), none) == ([(38, 12), (150, 52)], "")


def test_two_values_that_are_close_are_told_apart() -> None:
    history = [{"rce_loss": 1.8497, "val_loss": -0.005276}, {"rce_loss": 1.8508, "val_loss": -0.0057011}]
    shown = [text.rpartition("@")[0] for text in texts(picture(curve(history, ("rce_loss", "val_loss"))))]
    assert {"1.851", "1.85", "-0.00528", "-0.0057"} <= set(shown)


def scores(*values: float, name: str = "strategy") -> list[Score]:
    return [Score(f"{name} {at}", value, value - 0.02, value + 0.02) for at, value in enumerate(values)]


def names(svg: ElementTree.Element) -> list[str]:
    return [node.text or "" for node in svg.iter() if node.tag.endswith("text")]


def segments(path: str) -> list[tuple[int, int, int]]:
    """(left, middle, width) of each bar."""
    return [(int(x), int(y), int(w)) for x, y, w in re.findall(r"M(\d+) (\d+)h(\d+)", path)]


def test_bars_are_drawn_from_the_highest_down_with_their_intervals() -> None:
    svg = picture(bars(scores(0.25, 1.0, 0.5)))
    drawn, intervals = map(segments, paths(svg))
    assert names(svg) == ["strategy 1 100.0", "strategy 2 50.0", "strategy 0 25.0"]
    widths = [width for _, _, width in drawn]
    assert widths == [round(150 / 1.02), round(75 / 1.02), round(37.5 / 1.02)]  # the highest interval is the end
    for (left, middle, width), (begin, at, length) in zip(drawn, intervals, strict=True):
        assert at == middle and begin <= left + width <= begin + length
        assert begin + length <= 320


@pytest.mark.parametrize("count", [1, 7, 40])
@pytest.mark.parametrize("name", ["DPP", "a strategy whose name is longer than any of ours", "<script>&\"'"])
def test_as_many_bars_are_drawn_as_are_shown_without_a_click(count: int, name: str) -> None:
    found = scores(*(0.9 - 0.02 * at for at in range(count)), name=name)
    svg = picture(bars(found))
    drawn = names(svg)
    assert min(count, 4) <= len(drawn) <= 8
    assert all(len(text) <= 42 for text in drawn)
    assert drawn[0].startswith(name[:12])  # what comes first is kept


def test_a_score_of_zero_or_beyond_one_is_drawn() -> None:
    svg = picture(bars([Score("CIDEr of much", 1.5, 1.25, 1.75), Score("none", 0.0, 0.0, 0.0)]))
    drawn, intervals = map(segments, paths(svg))
    assert [width for _, _, width in drawn] == [round(150 * 1.5 / 1.75), 1]
    assert all(x + width <= 320 for x, _, width in (*drawn, *intervals))
