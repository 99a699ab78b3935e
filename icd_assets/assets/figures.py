"""What a training shows of itself: one small inline picture, and what each number of an epoch means."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import isfinite
from typing import Any

_INLINE = 1000  # Dagster's UI hides longer Markdown behind a click: a picture has 720 bytes
_POINTS = 9
_SHOWN = 'width="480" style="font:8px sans-serif" fill="#777"'  # wider, the UI would cut it off
_PANEL = 160  # of the second panel from the first
_LEFT, _TOP, _WIDTH, _HEIGHT = 38, 12, 112, 40  # of the plot in its panel
_BARS, _ROW = 8, 10  # bars at most, and their distance
_BAR, _BAR_WIDTH, _LETTERS = 164, 150, 35  # where bars begin, how long 100 % is, and how long a name may be

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


@dataclass(frozen=True, slots=True)
class Score:
    """One bar: a value with its interval, as shares of 1."""

    name: str
    value: float
    low: float
    high: float


def curve(history: Sequence[Mapping[str, float]], names: tuple[str, str]) -> Markdown:
    """Two metrics by epoch, each in a panel with a title and axes, small enough to be shown inline."""
    series = [[metrics[name] for metrics in history] for name in names]
    left = (0, _PANEL)
    lines = "".join(f'<path d="{_line(values, x)}"/>' for values, x in zip(series, left, strict=True))
    axes = "".join(f"M{x + _LEFT} {_TOP}v{_HEIGHT}h{_WIDTH}" for x in left)
    texts = "".join(_texts(_TITLES.get(name, name), series[k], left[k]) for k, name in enumerate(names))
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 320 63" {_SHOWN}>'
        f'<g fill="none" stroke="#43d"><path stroke="#999" d="{axes}"/>{lines}</g>{texts}</svg>'
    )
    text = _picture("loss", svg)
    assert len(text) < _INLINE, len(text)
    return Markdown(text)


def _picture(name: str, svg: str) -> str:
    return f"![{name}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"


def bars(scores: Sequence[Score]) -> Markdown:
    """As many of the scores as fit inline, the first in ``scores`` before others, drawn from the highest down: a
    bar from 0 to 1, or to the highest interval if that is more, with the interval at its end."""
    texts = (_bars(scores[:count]) for count in range(min(_BARS, len(scores)), 0, -1))
    return Markdown(next(text for text in texts if len(text) < _INLINE))


def _bars(scores: Sequence[Score]) -> str:
    end, rows = max(1.0, *(score.high for score in scores)), sorted(scores, key=lambda score: -score.value)
    scale = _BAR_WIDTH / end
    middle = [_ROW * at + 5 for at in range(len(rows))]
    drawn = "".join(f"M{_BAR} {y}h{max(1, round(row.value * scale))}" for row, y in zip(rows, middle, strict=True))
    spans = ((_BAR + round(row.low * scale), round((row.high - row.low) * scale)) for row in rows)
    intervals = "".join(f"M{x} {y}h{max(1, width)}" for (x, width), y in zip(spans, middle, strict=True))
    texts = "".join(
        f'<text y="{y + 3}">{escape(_cut(row.name))} {100 * row.value:.1f}</text>'
        for row, y in zip(rows, middle, strict=True)
    )
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 320 {_ROW * len(rows)}" {_SHOWN}>'
        f'<path stroke="#76e" stroke-width="5" d="{drawn}"/>'
        f'<path stroke="#e90" stroke-width="2" d="{intervals}"/>{texts}</svg>'
    )
    return _picture("scores", svg)


def _cut(name: str) -> str:
    """What fits before the bars."""
    return name if len(name) <= _LETTERS else f"{name[: _LETTERS - 1]}…"


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
