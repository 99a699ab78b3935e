"""Line charts as SVG, drawn by Vega-Lite; colors are the page's, so that they follow light and dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import altair as alt
import vl_convert
from markupsafe import Markup

_COLORS = [f"var(--line-{number})" for number in range(1, 7)]
_WIDTH, _HEIGHT = 320, 190  # of a chart in pixels: three fit on a desktop, one on a phone


@dataclass(frozen=True, slots=True)
class Chart:
    """``label``: in words, for who does not see it. ``svg``: safe, as Vega escapes every text."""

    label: str
    svg: Markup


def by_epoch(values: Sequence[float], title: str, kept: int | None = None) -> Chart:
    """One number of a training by epoch; ``kept``: the epoch (from 1) whose weights were kept."""
    points = [{"epoch": at, "value": value} for at, value in enumerate(values, 1) if isfinite(value)]
    base = alt.Chart(_data(points)).encode(
        x=alt.X("epoch:Q", title="epoch")
        .scale(domain=[1, max(2, len(values))], nice=False)
        .axis(**_whole(values)),
        y=alt.Y("value:Q", title=None).scale(zero=False),
    )
    marks: list[Any] = [base.mark_line(color=_COLORS[0], strokeWidth=2, point=_dot(len(values), _COLORS[0]))]
    if kept is not None:
        rule = alt.Chart(_data([{"epoch": kept}])).mark_rule(color="var(--mark)", strokeDash=[4, 3])
        marks.append(rule.encode(x="epoch:Q"))
    known = [point["value"] for point in points] or [float("nan")]
    label = f"{title} by epoch, from {known[0]:.4g} to {known[-1]:.4g} in {len(values)} epochs"
    return Chart(label, _svg(alt.layer(*marks), title))


def by_shots(lines: Mapping[str, Mapping[int, tuple[float, float, float]]], unit: str) -> Chart:
    """Scores by number of shots; name → shots → (score, low, high) of at most six names."""
    rows = [
        {"name": name, "shots": shots, "value": 100 * value, "low": 100 * low, "high": 100 * high}
        for name, points in lines.items()
        for shots, (value, low, high) in points.items()
    ]
    counts = sorted({shots for points in lines.values() for shots in points})
    color = alt.Color("name:N", title=None).scale(domain=list(lines), range=_COLORS[: len(lines)])
    base = alt.Chart(_data(rows)).encode(
        x=alt.X("shots:Q", title="shots")
        .axis(values=list[float](counts), format="d")
        .scale(padding=12, zero=False, nice=False),
        color=color.legend(orient="bottom", columns=1, labelLimit=300, symbolType="stroke"),
    )
    marks = (
        base.mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=30)).encode(y=alt.Y("value:Q", title=unit)),
        base.mark_rule(strokeWidth=2, opacity=0.5).encode(y="low:Q", y2="high:Q"),
    )
    label = f"{unit} by shots: " + "; ".join(
        f"{name} " + ", ".join(f"{100 * value:.1f} at {shots}" for shots, (value, *_) in points.items())
        for name, points in lines.items()
    )
    return Chart(label, _svg(alt.layer(*marks).resolve_scale(color="shared"), f"{unit} by shots", height=320))


def _svg(chart: Any, title: str, height: int = _HEIGHT) -> Markup:
    drawn = (
        chart.properties(
            width=_WIDTH,
            height=height,
            title=alt.TitleParams(title, anchor="start"),
            autosize=alt.AutoSizeParams(type="fit", contains="padding"),
        )
        .configure(background="transparent", font="sans-serif", padding=4)
        .configure_view(stroke=None)
        .configure_title(color="currentColor", fontSize=13, fontWeight="bold")
        .configure_legend(labelColor="currentColor", labelFontSize=12)
        .configure_axis(
            labelColor="currentColor",
            titleColor="currentColor",
            titleFontWeight="normal",
            gridColor="var(--rule)",
            domainColor="var(--rule)",
            tickColor="var(--rule)",
            labelFontSize=11,
            titleFontSize=12,
        )
    )
    return Markup(vl_convert.vegalite_to_svg(drawn.to_dict()))


def _data(rows: Sequence[Mapping[str, Any]]) -> alt.InlineData:
    return alt.InlineData(values=[dict(row) for row in rows])


def _whole(values: Sequence[float]) -> dict[str, Any]:
    return {"format": "d", "tickMinStep": 1, "tickCount": min(len(values), 6)}


def _dot(count: int, color: str) -> Any:
    """Dots where there are few epochs: of one alone a line shows nothing."""
    return alt.OverlayMarkDef(color=color, size=22) if count <= 30 else False
