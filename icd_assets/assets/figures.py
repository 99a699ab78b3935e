"""Training in the UI: one small inline picture, and what each number of the epoch that counts means."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence

import dagster as dg


def curve(title: str, history: Sequence[Mapping[str, float]], names: Sequence[str]) -> dg.MarkdownMetadataValue:
    """Metrics by epoch, each on an axis of its own, as an inline PNG of some 20 KB."""
    from matplotlib.figure import Figure  # no pyplot: it keeps figures alive in a long-lived process

    figure = Figure(figsize=(2.6 * len(names), 2.2), dpi=80, layout="constrained")
    epochs = range(1, len(history) + 1)
    for index, name in enumerate(names):
        axis = figure.add_subplot(1, len(names), index + 1)
        axis.plot(epochs, [metrics[name] for metrics in history], marker=".", color="#4f43dd")
        axis.set_title(f"{title} {name}", fontsize=8)
        axis.tick_params(labelsize=7)
        axis.set_xlabel("epoch", fontsize=7)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    encoded = base64.b64encode(buffer.getvalue()).decode()
    return dg.MetadataValue.md(f"![{title} by epoch](data:image/png;base64,{encoded})")


def meanings(metrics: Mapping[str, float]) -> dg.TableMetadataValue:
    """One epoch's numbers, each with its sentence."""
    from icd_assets.selector.metrics import METRICS

    rows = [
        dg.TableRecord({"metric": name, "value": round(value, 6), "meaning": METRICS[name]})
        for name, value in metrics.items()
    ]
    return dg.MetadataValue.table(records=rows)
