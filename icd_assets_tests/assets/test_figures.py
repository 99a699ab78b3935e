"""The curve is small enough for the UI to show it at once, and is a picture with axes and whole titles."""

from __future__ import annotations

import base64
import math
import re
from xml.etree import ElementTree

import pytest

from icd_assets.assets.figures import Markdown, bars, curve


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


def test_bars_of_hostile_names_fit_inline_and_stay_texts() -> None:
    scores = [(f"<script>&{'x' * 40}{n}", 0.9, 0.8, 1.0) for n in range(9)]
    text = bars(scores).text
    assert 0 < len(text) < 1000
    svg = base64.b64decode(text.partition("base64,")[2].removesuffix(")")).decode()
    assert "<script>" not in svg and svg.count("90.0") == 5 and ElementTree.fromstring(svg) is not None
