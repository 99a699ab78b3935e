"""The comparison as data and as text, and the files that an evaluation leaves behind.

Light to import: no numpy here; :func:`icd_assets.evaluation.compare.compare` makes a :class:`Comparison`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from icd_assets.errors import UserError
from icd_assets.evaluation.tables import bracketed, percent, signed, text_table
from icd_assets.evaluation.verdict import footnotes, verdict
from icd_assets.runtime.foreign import brief, printable
from icd_assets.runtime.small_file import parse_json, read_small_text

if TYPE_CHECKING:
    from icd_assets.evaluation.evaluate import Outcome


_Finite = Annotated[float, Field(allow_inf_nan=False, ge=-1e6, le=1e6)]


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its 95 % interval; tables print it times 100."""

    value: _Finite
    low: _Finite
    high: _Finite


def _is_printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError(f"{brief(text)} holds characters that are none of a name")
    return text


_Count = Annotated[int, Field(ge=0, lt=2**53)]
_Name = Annotated[str, Field(max_length=1000), AfterValidator(_is_printable)]


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class StrategyRow(_Row):
    """One strategy at one number of shots. The two rates are None without demonstrations.

    ``num_queries``: how many of the first queries it was tried on, None for all; ``prompts``: how many the
    training of its selector asked the VLM, None where nobody counted.
    """

    strategy: _Name
    shots: _Count
    score: Interval
    copy_rate: _Finite | None
    gold_shown_rate: _Finite | None
    num_queries: _Count | None = None
    prompts: _Count | None = None


class DifferenceRow(_Row):
    """Score of ``strategy`` minus score of ``reference``, on the same queries and shots.

    ``changed``: on how many queries both scores differ; ``p_value``: of the score test, or with fewer than 20
    changed of the exact sign test; ``p_holm``: Holm's for the family of the main table, None outside it;
    ``detectable``: the smallest true difference that would show with 80 % power. All None in a file of before.
    """

    strategy: _Name
    reference: _Name
    shots: _Count
    difference: Interval
    changed: _Count | None = None
    p_value: _Finite | None = None
    p_holm: _Finite | None = None
    detectable: _Finite | None = None

    @property
    def sign(self) -> int:
        """1 or -1 if it can be told from 0 at 5 % in its family, else 0; in a file of before by its interval."""
        low, high = self.difference.low, self.difference.high
        if self.p_holm is None:
            return 1 if low > 0 else -1 if high < 0 else 0
        return 0 if self.p_holm >= 0.05 else 1 if self.difference.value > 0 else -1


class KindRow(_Row):
    """One strategy on the queries of one kind, at the main number of shots."""

    strategy: _Name
    kind: str
    num_queries: _Count
    score: Interval


class Comparison(_Row):
    """Every strategy at every number of shots, and paired differences to the references.

    ``compare_shots``: the number of shots of the main table; ``recommended``: the strategy a verdict is about.
    A file of before has ``bootstrap_resamples``, and no number of images: its intervals are percentiles.
    """

    num_queries: _Count
    num_images: _Count | None = None
    compare_shots: _Count
    bootstrap_resamples: _Count | None = None
    seed: int
    metric: _Name
    recommended: _Name | None = None
    strategies: tuple[StrategyRow, ...]
    differences: tuple[DifferenceRow, ...]
    kinds: tuple[KindRow, ...] = ()

    @model_validator(mode="after")
    def _has_a_main_table(self) -> Comparison:
        if not self.main:
            raise ValueError("no strategy at the main number of shots")
        return self

    @property
    def label(self) -> str:
        """The metric as a column's head: accuracy in percent, CIDEr times 100 as the field prints it."""
        return "accuracy %" if self.metric == "accuracy" else self.metric

    @property
    def queries(self) -> str:
        """How many queries of which kind."""
        return f"{self.num_queries} {'images' if self.metric == 'CIDEr' else 'questions'}"

    @property
    def intervals(self) -> str:
        """What the intervals are, in words."""
        if self.num_images is None:
            return f"95 % intervals: percentiles of {self.bootstrap_resamples} resamples of the questions"
        if self.num_images == self.num_queries:
            return "95 % intervals"
        return f"95 % intervals, clustered by {self.num_images} images"

    def row(self, strategy: str, shots: int | None = None) -> StrategyRow:
        """A strategy's row, by default that of the main table (zero-shot has 0 shots everywhere)."""
        at = self.compare_shots if shots is None else shots
        for row in self.strategies:
            if row.strategy == strategy and row.shots in (0, at):
                return row
        raise KeyError(f"{strategy} at {at} shots was not evaluated")

    @property
    def main(self) -> tuple[StrategyRow, ...]:
        """The rows of the main table."""
        return tuple(row for row in self.strategies if row.shots in (0, self.compare_shots))

    @property
    def family(self) -> tuple[DifferenceRow, ...]:
        """The differences of the main table, over which Holm's correction goes."""
        return tuple(row for row in self.differences if row.shots == self.compare_shots)

    @property
    def references(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(row.reference for row in self.differences))

    def name(self, row: StrategyRow) -> str:
        """With a mark, if it was tried on some of the queries only."""
        return row.strategy if row.num_queries is None else f"{row.strategy} †"

    def kind_table(self) -> tuple[list[str], list[list[str]]]:
        """Header and lines of the scores by kind of query, each kind with its number of queries."""
        size = {row.kind: max(r.num_queries for r in self.kinds if r.kind == row.kind) for row in self.kinds}
        found = {(row.strategy, row.kind): row.score for row in self.kinds}
        lines = [[self.name(r), *(bracketed(found.get((r.strategy, kind))) for kind in size)] for r in self.main]
        return [f"{self.label} by kind", *(f"{kind} (n={n})" for kind, n in size.items())], lines

    def markdown(self) -> str:
        """The main table: scores with 95 % intervals, then scores by kind of query and by number of shots."""
        differences = {(row.strategy, row.reference): row for row in self.family}
        priced = any(row.prompts is not None for row in self.main)
        header = ["strategy", self.label, *(f"vs {name}" for name in self.references)]
        header += [*(["prompts"] if priced else []), "copies %", "gold shown %"]
        lines = [
            [
                self.name(row),
                bracketed(row.score),
                *(signed(differences.get((row.strategy, name))) for name in self.references),
                *(["–" if row.prompts is None else f"{row.prompts:,}"] if priced else []),
                percent(row.copy_rate),
                percent(row.gold_shown_rate),
            ]
            for row in self.main
        ]
        title = f"{self.queries}, {self.compare_shots} shots; brackets: {self.intervals}"
        said = "".join(f"{sentence}\n\n" for sentence in [*footnotes(self), *verdict(self)])
        kinds = f"{text_table(*self.kind_table())}\n\n" if self.kinds else ""
        return f"{title}\n\n{text_table(header, lines)}\n\n{said}{kinds}{self._by_shots()}\n"

    def _by_shots(self) -> str:
        shots = sorted({row.shots for row in self.strategies})
        score = {(row.strategy, row.shots): row.score.value for row in self.strategies}
        names = dict.fromkeys(row.strategy for row in self.strategies)
        lines = [[name, *(percent(score.get((name, count))) for count in shots)] for name in names]
        return text_table([f"{self.label} by shots", *map(str, shots)], lines)

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(self.model_dump(mode="json"), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Comparison:
        try:
            text = read_small_text(path)
            parse_json(text)  # numbers that are finite, of a depth that Python's own reader takes
            return cls.model_validate_json(text)
        except FileNotFoundError:
            raise UserError(f"{path} does not exist; materialize evaluation first.") from None
        except OSError as error:
            raise UserError(
                f"{path} cannot be read ({error.strerror}); move it away and evaluate again."
            ) from None
        except ValidationError as error:
            where = ".".join(str(part) for part in error.errors()[0]["loc"])[:200]
            raise UserError(f"{path} is not a comparison of ours (at {where!r}); evaluate again.") from None
        except ValueError as error:
            why = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else printable(str(error))[:200]
            raise UserError(f"{path} is not a comparison of ours ({why}); evaluate again.") from None


def upstream_metrics(outcomes: Sequence[Outcome], strategy: str) -> dict[str, float]:
    """``{"shot_num=1": 0.5015, …}`` of one strategy: what upstream's metrics files hold per run (SPEC M)."""
    found = sorted((o for o in outcomes if o.strategy == strategy), key=lambda outcome: outcome.shots)
    return {f"shot_num={outcome.shots}": overall_accuracy(outcome.scores) for outcome in found}


def overall_accuracy(accuracies: Sequence[float]) -> float:
    """Mean accuracy as upstream reports it: a fraction rounded to four decimals (percent to two)."""
    if not accuracies:
        raise ValueError("no accuracies to average")
    return round(100 * sum(accuracies) / len(accuracies), 2) / 100


def write_metrics(path: Path, run: str, metrics: Mapping[str, float]) -> None:
    """Upstream's metrics file with one run, e.g. ``test_data_num=800-LeverLMRetriever``.

    Deviation: the run's name carries no time of day, so that the same results give the same bytes.
    """
    path.write_text(json.dumps({run: dict(metrics)}, indent=4) + "\n", encoding="utf-8")
