"""Several sides on the same questions: how much each is better than the first, and what else differs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from icd_assets.errors import UserError
from icd_assets.evaluation.compare import Scored, compare_scores
from icd_assets.evaluation.report import Comparison
from icd_assets.evaluation.tables import bracketed, signed, text_table
from icd_assets.evaluation.verdict import footnotes, verdict
from icd_assets.lineage.chain import Chains
from icd_assets.lineage.differences import Difference, differences
from icd_assets.lineage.records import Records
from icd_assets.report.gallery import Row
from icd_assets.report.sides import Side
from icd_assets.tasks import TASKS

_SAME = 1e-9  # scores no further apart are equal, as in evaluation/paired.py


@dataclass(frozen=True, slots=True)
class Flips:
    """On how many questions a side is better, and on how many worse, than the first."""

    name: str
    better: int
    worse: int


@dataclass(frozen=True, slots=True)
class Compared:
    """``rows``: name → its row of each question, in one order. ``causes``: name → what differs from the first,
    None where one of the two has no record. ``left_out``: how many questions not all sides have."""

    sides: dict[str, Side]
    rows: dict[str, list[Row]]
    comparison: Comparison
    flips: tuple[Flips, ...]
    causes: dict[str, list[Difference] | None]
    asked_otherwise: tuple[str, ...]
    left_out: int

    @property
    def sentences(self) -> list[str]:
        """What to know before, and what the numbers say."""
        return [*self.cautions, *self.verdicts]

    @property
    def cautions(self) -> list[str]:
        """What was asked for although it makes the numbers say less."""
        found = [
            f"Compared although {reason}: a difference is not the selector's alone."
            for reason in self.asked_otherwise
        ]
        if self.left_out:
            found.append(f"{self.left_out:,} questions that not all sides answered are left out.")
        return found

    @property
    def verdicts(self) -> list[str]:
        """What the numbers say, side by side with the first."""
        each = (verdict(self.comparison.model_copy(update={"recommended": one.name})) for one in self.flips)
        return list(dict.fromkeys(sentence for sentences in each for sentence in sentences))

    def markdown(self) -> str:
        """The table, the flips and the causes."""
        listed = "\n".join(f"- {name}: {side.source}, {_shots(side)}" for name, side in self.sides.items())
        flips = [[one.name, f"{one.better:,}", f"{one.worse:,}"] for one in self.flips]
        first = next(iter(self.sides))
        causes = [line for lines in map(self._causes, self.causes) for line in lines]
        parts = [
            f"{self.comparison.queries}; brackets: {self.comparison.intervals}\n\n{listed}",
            *(f"**{sentence}**" for sentence in self.cautions),
            text_table(*self.table()),
            *footnotes(self.comparison),
            *self.verdicts,
            text_table([f"against {first}", "better on", "worse on"], flips),
            text_table(["what differs", "side", "where", "first", "other"], causes) if causes else "",
        ]
        return "\n\n".join(part for part in parts if part) + "\n"

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Header and lines: each side's score, and its difference to the first."""
        first = next(iter(self.sides))
        gains = {row.strategy: row for row in self.comparison.family}
        header = ["side", self.comparison.label, f"vs {first}"]
        lines = [
            [row.strategy, bracketed(row.score), signed(gains.get(row.strategy))] for row in self.comparison.main
        ]
        return header, lines

    def _causes(self, name: str) -> list[list[str]]:
        found = self.causes[name]
        if found is None:
            return [["not recorded", name, "", "", ""]]
        return [[one.field, name, " ← ".join(one.path), _value(one.a), _value(one.b)] for one in found]

    def as_json(self) -> dict[str, Any]:
        return {
            "sides": [
                {"name": name, "source": side.source, "strategy": side.strategy, "shots": side.shots}
                for name, side in self.sides.items()
            ],
            "comparison": self.comparison.model_dump(mode="json"),
            "flips": [{"name": one.name, "better": one.better, "worse": one.worse} for one in self.flips],
            "differences": {
                name: None if found is None else list(map(_difference, found))
                for name, found in self.causes.items()
            },
            "asked_otherwise": list(self.asked_otherwise),
            "questions_left_out": self.left_out,
        }


def compare_sides(
    sides: Sequence[Side], records: Records, *, common: bool = False, anyway: bool = False, seed: int = 42
) -> Compared:
    """Paired differences to the first side, by question.

    common: compare on the questions that all sides have. anyway: although the model was asked in other ways.
    Raises ``UserError`` where that was not asked for, or gold answers or metrics differ.
    """
    named = {f"{chr(ord('A') + at)}: {side.strategy}": side for at, side in enumerate(sides)}
    first = sides[0]
    shared = [key for key in first.rows if all(key in side.rows for side in sides)]
    left_out = len({key for side in sides for key in side.rows}) - len(shared)
    if not shared:
        raise UserError(_no_common_question(sides))
    if left_out and not common:
        raise UserError(_unlike_questions(sides))
    _require_same_gold(sides, shared)
    metric = _metric(sides)
    for side in sides:
        require_scores({key: side.rows[key]["score"] for key in shared}, metric, side.source)
    otherwise = tuple(_asked_otherwise(sides))
    if otherwise and not anyway:
        raise UserError(
            f"{otherwise[0]}, so a difference is not the selector's alone; compare all the same with --anyway."
        )
    rows = {name: [side.rows[key] for key in shared] for name, side in named.items()}
    scored = [
        Scored(
            name,
            1,
            tuple(row["question_id"] for row in own),
            tuple(row["image_id"] for row in own),
            tuple(row["score"] for row in own),
            None,
            None,
        )
        for name, own in rows.items()
    ]
    names = list(named)
    comparison = compare_scores(
        scored, names[:1], compare_shots=1, seed=seed, metric=metric, recommended=names[1], prices={}
    )
    chains = [Chains(side.records or records) for side in sides]
    return Compared(
        named,
        rows,
        comparison,
        tuple(_flips(name, rows[names[0]], rows[name]) for name in names[1:]),
        {
            name: _causes(first, chains[0], named[name], chain)
            for name, chain in zip(names[1:], chains[1:], strict=True)
        },
        otherwise,
        left_out,
    )


def _flips(name: str, first: Sequence[Row], other: Sequence[Row]) -> Flips:
    gains = [one["score"] - base["score"] for one, base in zip(other, first, strict=True)]
    return Flips(name, sum(gain > _SAME for gain in gains), sum(gain < -_SAME for gain in gains))


def _causes(first: Side, ours: Chains, other: Side, theirs: Chains) -> list[Difference] | None:
    if first.manifest is None or other.manifest is None:
        return None
    found = differences(ours.of(first.manifest), theirs.of(other.manifest))
    if first.strategy != other.strategy:
        found.insert(0, Difference("config", ("evaluation",), "strategy", first.strategy, other.strategy))
    if first.shots != other.shots:
        found.insert(0, Difference("config", ("evaluation",), "shots", first.shots, other.shots))
    return found


def _metric(sides: Sequence[Side]) -> str:
    known = {side.metric for side in sides if side.metric is not None}
    if len(known) > 1:
        raise UserError(f"the sides are scored by {' and '.join(sorted(known))}; compare those of one metric.")
    return next(iter(known), "accuracy")


def require_scores(scores: Mapping[Any, float], metric: str, source: str) -> None:
    """Raises ``UserError`` for a score that the metric cannot give, such as a percentage."""
    best = max((task.best_score for task in TASKS.values() if task.metric_name == metric), default=math.inf)
    for key, score in scores.items():
        if not -_SAME <= score <= best + _SAME:
            raise UserError(
                f"{source}: question {key!s:.40} has the score {score:g}, but {metric} goes from 0 to {best:g}; "
                "give scores as the metric has them."
            )


def _no_common_question(sides: Sequence[Side]) -> str:
    *others, last = (f"{side.source} (such as {next(iter(side.rows)):.40})" for side in sides)
    return f"{', '.join(others)} and {last} have no question in common; compare what answered the same."


def _unlike_questions(sides: Sequence[Side]) -> str:
    first, other = next((sides[0], side) for side in sides if side.rows.keys() != sides[0].rows.keys())
    missing = sorted(first.rows.keys() - other.rows.keys())
    more = sorted(other.rows.keys() - first.rows.keys())
    parts = [
        f"{len(keys):,} questions of {one.source} are not in {than.source} (such as {keys[0]:.40})"
        for keys, one, than in ((missing, first, other), (more, other, first))
        if keys
    ]
    return f"{', and '.join(parts)}; compare on those that all have with --common."


def _require_same_gold(sides: Sequence[Side], shared: Sequence[str]) -> None:
    for side in sides[1:]:
        for key in shared:
            one, other = sides[0].rows[key], side.rows[key]
            if list(one["answers"]) != list(other["answers"]):
                raise UserError(
                    f"question {key:.40} has other gold answers in {side.source} than in {sides[0].source}; "
                    "evaluate both on the same annotations."
                )


def _asked_otherwise(sides: Sequence[Side]) -> Iterator[str]:
    known = [side for side in sides if side.manifest is not None]
    for side in known[1:]:
        one, other = known[0].asked, side.asked
        differing = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
        if differing:
            yield f"{side.source} asked the model otherwise than {known[0].source} ({', '.join(differing)})"


def _difference(one: Difference) -> dict[str, Any]:
    return {"kind": one.kind, "path": list(one.path), "field": one.field, "first": one.a, "other": one.b}


def _shots(side: Side) -> str:
    return "shots not known" if side.shots is None else f"{side.shots} shots"


def _value(value: Any) -> str:
    return "–" if value is None else str(value)[:60]
