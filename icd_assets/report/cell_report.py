"""The report of one cell: is its selector better, what does it choose, how did it learn, what is it made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from icd_assets.errors import UserError
from icd_assets.evaluation.predictions import NAME, read_predictions
from icd_assets.evaluation.report import Comparison, Interval, StrategyRow
from icd_assets.evaluation.statistics import interval
from icd_assets.evaluation.verdict import footnotes, verdict
from icd_assets.experiment.experiment import Experiment
from icd_assets.lineage import Records
from icd_assets.lineage.as_made import manifests_behind
from icd_assets.lineage.chain import Artifact, Chains
from icd_assets.lineage.command import command
from icd_assets.lineage.words import STATE_IN_WORDS
from icd_assets.report.bars import Line, line, lines, top
from icd_assets.report.charts import Chart, by_epoch, by_shots
from icd_assets.report.gallery import Gallery, Row, SplitPictures, gallery
from icd_assets.report.page import render as render_page
from icd_assets.runtime.progress import OnProgress, ignore
from icd_assets.selector.metrics import METRICS
from icd_assets.store.manifest import Manifest

# What is drawn of a training, in this order, with its title.
_CURVES = {
    "train_loss": "training loss",
    "rce_loss": "training loss (RCE)",
    "grpo_loss": "training loss (GRPO)",
    "val_loss": "validation loss",
    "val_expected_reward": "validation reward, expected",
    "val_greedy_reward": "validation reward, greedy",
    "val_first_pick": "right first picks",
    "kl": "KL from the reference policy",
    "entropy": "entropy of the picks",
    "clip_fraction": "clipped ratios",
    "frac_reward_zero_std": "queries without a signal",
    "grad_norm": "norm of the gradient",
}
_KINDS = {"question_type": "question type", "answer_type": "answer type"}
_MOST_KINDS = 12


@dataclass(frozen=True, slots=True)
class Training:
    """One stage's curves, and which epoch was kept."""

    name: str
    epochs: int
    kept: int | None
    charts: tuple[Chart, ...]


@dataclass(frozen=True, slots=True)
class KindTable:
    """Scores by one kind of query: kind → its number of queries and a line for each strategy."""

    title: str
    kinds: Mapping[str, tuple[int, tuple[Line, ...]]]
    left_out: int


def render(experiment: Experiment, on_progress: OnProgress = ignore) -> str:
    """The page. Raises ``UserError`` where the cell is not evaluated, or its files are not ours."""
    found = content(experiment)
    pictures = SplitPictures(experiment.data.validation, experiment.data.train)
    return page(found, gallery(found["sides"], pictures, shown=found["pair"], on_progress=on_progress))


def page(content: Mapping[str, Any], gallery: Gallery) -> str:
    return render_page("cell.html", **content, gallery=gallery.data, pictures=gallery.pictures)


def content(experiment: Experiment) -> dict[str, Any]:
    """All that the page shows but for the questions one by one."""
    manifest = experiment.store.require(experiment.manifest_path("evaluation"), "evaluation")
    files = {path.name: path for path in experiment.store.files(manifest)}
    if NAME not in files:
        raise UserError(f"the evaluation of {experiment.cell} is of an older form; run icd-assets train again.")
    comparison = Comparison.read(files["comparison.json"])
    sides = _sides(read_predictions(files[NAME]).to_pylist(), comparison)
    behind = manifests_behind(experiment.store, manifest)
    pair = _pair(comparison)
    return {
        "cell": experiment.cell,
        "manifest": manifest,
        "comparison": comparison,
        "sides": sides,
        "pair": pair,
        "verdict": verdict(comparison),
        "footnotes": footnotes(comparison),
        "lines": lines(comparison),
        "differences": {(row.strategy, row.reference): row for row in comparison.family},
        "kinds": [_kinds(sides, name, title, comparison, pair) for name, title in _KINDS.items()],
        "shots": _shots(comparison, pair),
        "trainings": [found for made in behind.values() if (found := _training(made)) is not None],
        "meanings": METRICS,
        "chain": Chains(Records(experiment.store)).of(manifest),
        "state": STATE_IN_WORDS,
        "once": _Once(),
        "command": command(experiment, "evaluation"),
    }


class _Once:
    """Whether an artifact is met for the first time: its inputs are listed there alone."""

    def __init__(self) -> None:
        self._met: set[str] = set()

    def __call__(self, node: Artifact) -> bool:
        new = node.key not in self._met
        self._met.add(node.key)
        return new


def _sides(rows: Sequence[Row], comparison: Comparison) -> dict[str, list[Row]]:
    """The rows of the main table's strategies, the recommended first: it has every question."""
    first = comparison.recommended or comparison.main[0].strategy
    main = [first, *(row.strategy for row in comparison.main if row.strategy != first)]
    found: dict[str, list[Row]] = {name: [] for name in main}
    for row in rows:
        if row["strategy"] in found and row["shots"] in (0, comparison.compare_shots):
            found[row["strategy"]].append(row)
    return found


def _pair(comparison: Comparison) -> tuple[str, str]:
    """The two strategies that the page begins with: the recommended one, and what it is to be better than."""
    first = comparison.recommended or comparison.main[-1].strategy
    rivals = [row for row in comparison.main if row.strategy in comparison.references and row.strategy != first]
    untrained = [row for row in rivals if row.prompts is None] or rivals or list(comparison.main)
    return first, max(untrained, key=lambda row: row.score.value).strategy


def _kinds(
    sides: Mapping[str, Sequence[Row]], column: str, title: str, comparison: Comparison, pair: tuple[str, str]
) -> KindTable | None:
    """The pair's scores by the kinds that a column names, the most frequent first; None of one kind only."""
    names = list(dict.fromkeys((*pair, *(["zero-shot"] if "zero-shot" in sides else []))))
    grouped: dict[str, dict[str, list[Row]]] = {}
    for name in names:
        for row in sides[name]:
            grouped.setdefault(row[column], {}).setdefault(name, []).append(row)
    if len(grouped) < 2:
        return None
    order = sorted(grouped, key=lambda kind: (-len(grouped[kind].get(pair[0], ())), kind))
    end = top(comparison)
    return KindTable(
        title,
        {
            kind: (
                len(grouped[kind].get(pair[0], ())),
                tuple(line(name, None, _score(rows, end), end) for name, rows in grouped[kind].items()),
            )
            for kind in order[:_MOST_KINDS]
        },
        len(order[_MOST_KINDS:]),
    )


def _score(rows: Sequence[Row], end: float) -> Interval:
    return interval([row["score"] for row in rows], [row["image_id"] for row in rows], max(end, _best(rows)))


def _best(rows: Sequence[Row]) -> float:
    return float(max(row["score"] for row in rows))


def _shots(comparison: Comparison, pair: tuple[str, str]) -> Chart | None:
    """Scores by shots of the pair, of what it is measured against, and of the best that is known."""
    found: dict[str, dict[int, StrategyRow]] = {}
    for row in comparison.strategies:
        if row.shots:
            found.setdefault(row.strategy, {})[row.shots] = row
    if len({row.shots for rows in found.values() for row in rows.values()}) < 2:
        return None
    best = max(found, key=lambda name: found[name][max(found[name])].score.value)
    names = [name for name in dict.fromkeys((*pair, *comparison.references, best)) if name in found][:6]
    points = {
        name: {shots: (row.score.value, row.score.low, row.score.high) for shots, row in found[name].items()}
        for name in names
    }
    return by_shots(points, comparison.label)


def _training(manifest: Manifest) -> Training | None:
    """The curves of an artifact that was trained, over all of its epochs, whatever process each was trained in."""
    history: Sequence[Mapping[str, float]] = manifest.facts.get("history") or ()
    kept = manifest.facts.get("best_epoch")
    charts = [
        by_epoch(values, title, kept)
        for name, title in _CURVES.items()
        if (values := [float(epoch[name]) for epoch in history if name in epoch]) and any(map(isfinite, values))
    ]
    if not charts:
        return None
    return Training(manifest.spec.asset, len(history), kept, tuple(charts))
