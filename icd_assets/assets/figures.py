"""What a training shows of itself: one small inline picture, and what each number of an epoch means."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any
from xml.sax.saxutils import escape

_INLINE = 1000  # Dagster's UI hides longer Markdown behind a click: a picture has 720 bytes
_POINTS = 9
_BARS, _LONGEST = 5, 22  # lines of scores, and characters of a name
_PANEL = 160  # of the second panel from the first
_LEFT, _TOP, _WIDTH, _HEIGHT = 38, 12, 112, 40  # of the plot in its panel

# As the title of a plot: whole, where the name alone says little.
_TITLES = {
    "train_loss": "training loss",
    "rce_loss": "training loss (RCE)",
    "grpo_loss": "training loss (GRPO)",
    "val_loss": "validation loss",
    "val_expected_reward": "validation reward",
}


@dataclass(frozen=True, slots=True)
class Markdown:
    """A text to be rendered."""

    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """Rows with the same columns."""

    rows: Sequence[Mapping[str, Any]]


def curve(history: Sequence[Mapping[str, float]], names: tuple[str, str]) -> Markdown:
    """Two metrics by epoch, each in a panel with a title and axes, small enough to be shown inline."""
    series = [[metrics[name] for metrics in history] for name in names]
    left = (0, _PANEL)
    lines = "".join(f'<path d="{_line(values, x)}"/>' for values, x in zip(series, left, strict=True))
    axes = "".join(f"M{x + _LEFT} {_TOP}v{_HEIGHT}h{_WIDTH}" for x in left)
    texts = "".join(_texts(_TITLES.get(name, name), series[k], left[k]) for k, name in enumerate(names))
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 320 63" width="640" font-size="8" fill="#777">'
        f'<g fill="none" stroke="#43d"><path stroke="#999" d="{axes}"/>{lines}</g>{texts}</svg>'
    )
    encoded = base64.b64encode(svg.encode()).decode()
    text = f"![loss](data:image/svg+xml;base64,{encoded})"
    assert len(text) < _INLINE, len(text)
    return Markdown(text)


def bars(scores: Sequence[tuple[str, float, float, float]]) -> Markdown:
    """Scores with their intervals, a line for each of up to five (name, score, low, high), all shares of one."""
    light = dark = texts = ""
    for at, (name, *shares) in enumerate(scores[:_BARS]):
        y = 7 + 13 * at
        score, low, high = (round(150 + 130 * share) for share in shares)
        light, dark = f"{light}M{low} {y}H{high}", f"{dark}M{score} {y - 4}v8"
        texts += f'<text y="{y + 3}">{escape(name[:_LONGEST])}</text>'
        texts += f'<text x="290" y="{y + 3}">{100 * shares[0]:.1f}</text>'
    height = 13 * len(scores[:_BARS])
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 320 {height}" width="480" fill="#777" '
        f'font-size="9" font-family="Arial">{texts}<path stroke="#bbf" stroke-width="4" d="{light}"/>'
        f'<path stroke="#43d" d="{dark}"/></svg>'
    )
    text = f"![scores](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"
    return Markdown(text if len(text) < _INLINE else "")


def show_training(facts: Mapping[str, Any], loss: str) -> dict[str, Markdown | Table]:
    """The picture and the last epoch's numbers; Lever-Plus' checkpoints have no expected reward."""
    history = facts["history"]
    drawn = [
        name for name in (loss, "val_expected_reward", "val_loss") if all(name in metrics for metrics in history)
    ]
    picture = {"curve": curve(history, (drawn[0], drawn[1]))} if len(drawn) > 1 else {}
    return {**picture, "last_epoch": meanings(history[-1])}


def _line(values: Sequence[float], left: int) -> str:
    """A path through some of the epochs, the first and the last among them; of one epoch a dash."""
    (low, high), last = _range(values), len(values) - 1
    shown = sorted({round(k * last / (_POINTS - 1)) for k in range(_POINTS)}) if last else [0]
    points = [
        (
            left + _LEFT + k * _WIDTH // max(last, 1),
            _TOP + _HEIGHT - round((values[k] - low) / ((high - low) or 1) * _HEIGHT),
        )
        for k in shown
        if isfinite(values[k])
    ]
    path = " ".join(f"{x},{y}" for x, y in points)
    return f"M{path}{'' if last else 'h4'}" if points else ""


def _texts(title: str, values: Sequence[float], left: int) -> str:
    """The title; the highest and the lowest value beside an axis, the first and the last epoch below the other."""
    (low, high), bottom, last = _range(values), _TOP + _HEIGHT, str(len(values))
    highest, lowest = _labels(low, high)
    texts = [(_LEFT, 8, f"{title} by epoch"), (0, _TOP + 5, highest), (_LEFT, bottom + 9, "1")]
    if low < high:
        texts.append((0, bottom, lowest))
    if len(values) > 1:
        texts.append((_LEFT + _WIDTH - 4 * len(last), bottom + 9, last))
    return "".join(f'<text x="{left + x}" y="{y}">{text}</text>' for x, y, text in texts)


def _labels(low: float, high: float) -> tuple[str, str]:
    """The highest and the lowest value in as few digits as tell them apart, and as fit beside the axis."""
    pairs = [(f"{high:.{digits}g}", f"{low:.{digits}g}") for digits in (3, 4, 5)]
    apart = (pair for pair in pairs if pair[0] != pair[1] and max(map(len, pair)) <= _LEFT // 4)
    return next(apart, pairs[0])


def _range(values: Sequence[float]) -> tuple[float, float]:
    """The lowest and the highest value, of those that are numbers."""
    numbers = [value for value in values if isfinite(value)] or [0.0]
    return min(numbers), max(numbers)


def meanings(metrics: Mapping[str, float]) -> Table:
    """One epoch's numbers, each with its sentence."""
    from icd_assets.selector.metrics import METRICS

    return Table(
        [
            {"metric": name, "value": round(value, 4), "meaning": METRICS.get(name, "As the file says.")}
            for name, value in metrics.items()
        ]
    )
