"""What a training shows of itself: one small inline picture, and what each number of an epoch means."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_WIDTH, _HEIGHT, _POINTS = 120, 40, 12
_INLINE = 1000  # Dagster's UI hides longer Markdown behind a click


@dataclass(frozen=True, slots=True)
class Markdown:
    """A text to be rendered."""

    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """Rows with the same columns."""

    rows: Sequence[Mapping[str, Any]]


def curve(history: Sequence[Mapping[str, float]], names: tuple[str, str]) -> Markdown:
    """Two metrics by epoch, each in a panel with its first and last value, small enough to be shown inline."""
    panels = "".join(_panel(index, name, history) for index, name in enumerate(names))
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * _WIDTH} {_HEIGHT + 12}" width="480">'
        f'<g font-size="8" fill="none" stroke="#43d">{panels}</g></svg>'
    )
    encoded = base64.b64encode(svg.encode()).decode()
    text = f"![curve](data:image/svg+xml;base64,{encoded})"
    assert len(text) < _INLINE, len(text)
    return Markdown(text)


def show_training(facts: Mapping[str, Any], loss: str) -> dict[str, Markdown | Table]:
    """The picture and the last epoch's numbers; Lever-Plus' checkpoints have no expected reward."""
    history = facts["history"]
    drawn = [
        name for name in (loss, "val_expected_reward", "val_loss") if all(name in metrics for metrics in history)
    ]
    picture = {"curve": curve(history, (drawn[0], drawn[1]))} if len(drawn) > 1 else {}
    return {**picture, "last_epoch": meanings(history[-1])}


def _panel(index: int, name: str, history: Sequence[Mapping[str, float]]) -> str:
    values = [metrics[name] for metrics in history]
    low, high = min(values), max(values)
    last = len(values) - 1
    shown = sorted({round(k * last / (_POINTS - 1)) for k in range(_POINTS)}) if last else [0, 0]
    points = " ".join(
        f"{index * _WIDTH + 2 + k * (_WIDTH - 12) // max(last, 1)},"
        f"{10 + _HEIGHT - round((values[k] - low) / ((high - low) or 1) * _HEIGHT)}"
        for k in shown
    )
    label = f"{name} {values[0]:.3g}→{values[-1]:.3g}"
    text = f'<text x="{index * _WIDTH}" y="7" fill="#777" stroke="none">{label}</text>'
    return f'{text}<polyline points="{points}"/>'


def meanings(metrics: Mapping[str, float]) -> Table:
    """One epoch's numbers, each with its sentence."""
    from icd_assets.selector.metrics import METRICS

    return Table(
        [
            {"metric": name, "value": round(value, 4), "meaning": METRICS.get(name, "As the file says.")}
            for name, value in metrics.items()
        ]
    )
