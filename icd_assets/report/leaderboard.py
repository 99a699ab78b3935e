"""Every evaluation under a results root, best first: those on the same questions in one table, seeds averaged.

A row is what one experiment of a cell recommends, at its main number of shots. Differences are to the first row,
paired by question, with Holm's correction over the table; :mod:`icd_assets.evaluation.seeds` says what averaging
over seeds means.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from icd_assets.errors import UserError
from icd_assets.evaluation.compare import Scored, compare_scores
from icd_assets.evaluation.earlier import altered
from icd_assets.evaluation.predictions import NAME, Scores, folder_of, gold_answers, read_scores
from icd_assets.evaluation.report import Comparison, DifferenceRow, StrategyRow
from icd_assets.evaluation.tables import bracketed, signed, text_table
from icd_assets.report.compare_sides import require_scores
from icd_assets.store.digests import sha256_json
from icd_assets.store.manifest import Manifest
from icd_assets.store.names import SEEDS, manifest_in
from icd_assets.store.store import Store


@dataclass(frozen=True, slots=True)
class _Evaluated:
    """One evaluation: its folder's name says cell, reward and experiment."""

    dataset: str
    folder: str
    seed: int
    strategy: str
    comparison: Comparison
    scores: Scores
    questions: str

    @property
    def table(self) -> tuple[str, int, str, str]:
        """Which evaluations stand in one table: those of the same questions, gold answers, shots and metric."""
        return self.dataset, self.comparison.compare_shots, self.comparison.metric, self.questions

    @property
    def name(self) -> str:
        return f"{self.folder.removeprefix('v3_')}: {self.strategy}"


@dataclass(frozen=True, slots=True)
class Board:
    """One table. ``seeds``: name → the seeds that its score is the mean of."""

    dataset: str
    shots: int
    comparison: Comparison
    seeds: dict[str, tuple[int, ...]]

    @property
    def rows(self) -> list[tuple[StrategyRow, DifferenceRow | None]]:
        """Best first, each with its difference to the first."""
        gains = {row.strategy: row for row in self.comparison.family}
        ranked = sorted(self.comparison.main, key=lambda row: (-row.score.value, row.strategy))
        return [(row, gains.get(row.strategy)) for row in ranked]

    @property
    def title(self) -> str:
        return f"{self.dataset}, {self.comparison.queries}, {self.shots} shots; {self.comparison.intervals}"

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Header and lines; `would show` is the smallest difference to the first that would."""
        header = ["", "evaluation", self.comparison.label, "vs the first", "would show", "seeds", "prompts"]
        return header, [self._line(rank, *row) for rank, row in enumerate(self.rows, 1)]

    def _line(self, rank: int, row: StrategyRow, gain: DifferenceRow | None) -> list[str]:
        shown = "–" if gain is None or gain.detectable is None else f"{100 * gain.detectable:.1f}"
        seeds = ", ".join(map(str, self.seeds[row.strategy]))
        price = "–" if row.prompts is None else f"{row.prompts:,}"
        return [str(rank), row.strategy, bracketed(row.score), signed(gain), shown, seeds, price]

    def markdown(self) -> str:
        return f"{self.title}\n\n{text_table(*self.table())}\n"

    def as_json(self) -> dict[str, Any]:
        return {
            "dataset": self.dataset,
            "shots": self.shots,
            "metric": self.comparison.metric,
            "questions": self.comparison.num_queries,
            "images": self.comparison.num_images,
            "rows": [
                {
                    "evaluation": row.strategy,
                    "score": asdict(row.score),
                    "prompts": row.prompts,
                    "seeds": list(self.seeds[row.strategy]),
                    "difference": None if gain is None else asdict(gain.difference),
                    "p_holm": None if gain is None else gain.p_holm,
                    "detectable": None if gain is None else gain.detectable,
                }
                for row, gain in self.rows
            ],
        }


def leaderboard(store: Store) -> tuple[list[Board], list[str]]:
    """A table for each set of questions, and what could not be read, in sentences."""
    tables: dict[tuple[Any, ...], list[_Evaluated]] = {}
    problems: list[str] = []
    for root in (store.root, *sorted(store.root.glob(f"{SEEDS}/*"))):
        for one in _evaluations(Store(root), problems):
            tables.setdefault(one.table, []).append(one)
    return [_board(found) for _, found in sorted(tables.items(), key=lambda it: it[0][:3])], problems


def _evaluations(store: Store, problems: list[str]) -> Iterator[_Evaluated]:
    for path in sorted(store.root.glob(f"*/icl_inference/*/{manifest_in(Path(), 'evaluation').name}")):
        try:
            manifest = store.require(path, "evaluation")
            yield _read(path.parent.name, folder_of(manifest, path.parent, store.root), manifest)
        except UserError as problem:  # one cell's damage does not hide the others
            problems.append(str(problem))


def _read(name: str, folder: Path, manifest: Manifest) -> _Evaluated:
    path = folder / NAME
    if not path.is_file():
        raise UserError(f"{folder} has no {NAME}: its evaluation is of an older form; run icd-assets train again.")
    if (problem := altered(folder, manifest)) is not None:
        raise UserError(f"{problem}; evaluate again.")
    comparison = Comparison.read(folder / "comparison.json")
    strategy = comparison.recommended or str(manifest.fact("recommended"))  # a file of before does not say it
    found = read_scores(path).get((strategy, comparison.compare_shots))
    if found is None or all(row.strategy != strategy for row in comparison.main):
        raise UserError(f"{path} has no {strategy:.80} at {comparison.compare_shots} shots; evaluate again.")
    require_scores(dict(zip(found.ids, found.scores, strict=True)), comparison.metric, str(path))
    scores, golds = _sorted(found), gold_answers(path)
    questions = sha256_json([[str(id), golds[id]] for id in scores.ids])
    seed = manifest.spec.config.get("seed")
    seed = seed if isinstance(seed, int) else comparison.seed
    return _Evaluated(manifest.cell.partition("|")[0], name, seed, strategy, comparison, scores, questions)


def _sorted(scores: Scores) -> Scores:
    """In one order, whatever that of the file."""
    rows = zip(scores.ids, scores.images, scores.scores, strict=True)
    ids, images, values = zip(*sorted(rows, key=lambda row: str(row[0])), strict=True)
    return Scores(list(ids), list(images), list(values))


def _board(found: Sequence[_Evaluated]) -> Board:
    named: dict[str, list[_Evaluated]] = {}
    for one in found:
        of_seeds = named.setdefault(one.name, [])
        if one.seed not in {other.seed for other in of_seeds}:  # the results root's own comes first
            of_seeds.append(one)
    scored = {name: _averaged(name, of_seeds) for name, of_seeds in named.items()}
    best = max(scored.values(), key=lambda one: statistics.fmean(one.scores))
    first = found[0].comparison
    comparison = compare_scores(
        list(scored.values()),
        (best.strategy,),
        compare_shots=first.compare_shots,
        seed=first.seed,
        metric=first.metric,
        recommended=best.strategy,
        prices={name: _price(of_seeds) for name, of_seeds in named.items()},
    )
    seeds = {name: tuple(one.seed for one in of_seeds) for name, of_seeds in named.items()}
    return Board(found[0].dataset, first.compare_shots, comparison, seeds)


def _averaged(name: str, of_seeds: Sequence[_Evaluated]) -> Scored:
    """Of each question the mean over the seeds."""
    first = of_seeds[0]
    means = (statistics.fmean(values) for values in zip(*(one.scores.scores for one in of_seeds), strict=True))
    ids, images = tuple(first.scores.ids), tuple(first.scores.images)
    return Scored(name, first.comparison.compare_shots, ids, images, tuple(means), None, None)


def _price(of_seeds: Sequence[_Evaluated]) -> int | None:
    prices = [one.comparison.row(one.strategy).prompts for one in of_seeds]
    known = [price for price in prices if price is not None]
    return round(statistics.fmean(known)) if known else None
