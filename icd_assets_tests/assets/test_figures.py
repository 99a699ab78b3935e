"""The curve is small enough for the UI to show it at once, and is a picture."""

from __future__ import annotations

import base64
from xml.etree import ElementTree

import pytest

from icd_assets.assets.figures import curve


@pytest.mark.parametrize("epochs", [1, 2, 3, 50, 1000])
def test_a_curve_is_inline_whatever_its_length(epochs: int) -> None:
    history = [{"rce_loss": 10.0 / (n + 1), "val_expected_reward": -1.23456e-7 * n} for n in range(epochs)]
    text = curve(history, ("rce_loss", "val_expected_reward")).text
    assert len(text) < 1000
    svg = base64.b64decode(text.partition("base64,")[2].removesuffix(")"))
    lines = [node for node in ElementTree.fromstring(svg).iter() if node.tag.endswith("polyline")]
    assert len(lines) == 2
    for line in lines:
        heights = [float(point.split(",")[1]) for point in line.attrib["points"].split()]
        assert all(10 <= height <= 50 for height in heights)
    assert [line.attrib["points"].split()[0].split(",")[0] for line in lines] == ["2", "122"]


def test_falling_is_drawn_falling() -> None:
    text = curve([{"a": 1.0, "b": 0.0}, {"a": 0.0, "b": 1.0}], ("a", "b")).text
    svg = base64.b64decode(text.partition("base64,")[2].removesuffix(")")).decode()
    assert 'points="2,10 110,50"' in svg
    assert 'points="122,50 230,10"' in svg
