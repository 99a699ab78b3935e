"""What selectors learn from which labels, on the demo's two data sets: docs/methods/results.md is its output.

    python benchmarks/learning.py train demo           # two processes fill two cores, for two hours
    python benchmarks/learning.py train demo_pairs
    python benchmarks/learning.py report --picture docs/pictures/prices.svg > docs/methods/results.md

Every arm is an experiment of the cell, made by the assets that ``icd-assets train`` makes: what is there is not
made again, and an interrupted run goes on. Settings were chosen on seed 45 alone. DEMO_SEED draws another world
(its pictures, and what the answer to what is); give it --results of its own. The picture needs matplotlib.

Differences are paired by question. Pooled over seeds, each question's mean over the seeds is one value, as for
``train --seeds``. A price is the number of distinct prompts that the labels behind a selector need.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

import icd_assets
from icd_assets.demo.dataset import PAIRS_TRAIN, PAIRS_VALIDATION, SEED, TRAIN, VALIDATION
from icd_assets.demo.dataset import rows as drawn
from icd_assets.demo.rule import two_that_tell
from icd_assets.evaluation.paired import Paired, paired
from icd_assets.evaluation.predictions import NAME, read_scores
from icd_assets.evaluation.report import Comparison, Interval
from icd_assets.evaluation.statistics import interval
from icd_assets.evaluation.tables import bracketed, text_table
from icd_assets.experiment import catalog
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.seeds import of_seeds, read_seeds
from icd_assets.experiment.settings import PRESETS
from icd_assets.selector.config import LEVER_PLUS
from icd_assets.vlm.cached_backend import AnswerStore, CachedBackend
from icd_assets.vlm.prompts import Prompt

CELL = ("rand_sampler", "tiny_vl")
RULE = "knows the rule"
DATASETS = {"demo": "one word", "demo_pairs": "two words"}
ARCHITECTURES = ("v2", "gru", "additive", "mmr", "transformer")
TUNED_ON = 45
FEW = 2  # seeds of the tables that claim nothing
SAME_PRICE = 160  # queries whose beams ask no more prompts than the default recipe's labels

ALL_QUESTIONS: dict[str, Any] = {"evaluation.num_queries": -1, "evaluation.shot_counts": [2]}
SELECTORS_ALONE: dict[str, Any] = {
    "evaluation.baselines": [],
    "evaluation.library_candidates": 0,
    "evaluation.oracle_beams": 0,
}
BEAMS: dict[str, Any] = {
    "shared.recipe": "beams",
    "shared.rl_rows": "own",
    "grpo_checkpoints.grpo_epochs": 3,
    # No longer the defaults; what is in the page was trained so.
    **{f"rce_checkpoints.{name}": LEVER_PLUS["RceConfig"][name] for name in ("batch_size", "rce_lr")},
    **{f"grpo_checkpoints.{name}": LEVER_PLUS["GrpoConfig"][name] for name in ("batch_size", "grpo_lr")},
}
SFT_ALONE = BEAMS | {"grpo_checkpoints.grpo_epochs": 0, "rce_checkpoints.rce_epochs": 1, "rl_queries.rows": 20}


@dataclass(frozen=True)
class Arm:
    """One experiment. ``rows``: its selectors as the report names them → as its evaluation does."""

    name: str
    rows: Mapping[str, str]
    settings: Mapping[str, Any] = field(default_factory=dict)
    anchors: int | None = None  # another ``sample_num`` than the catalog's
    rival: bool = True  # evaluated alone, without baselines


def _priced(queries: int) -> Arm:
    rows = {f"singles, {queries} queries": "coverage (singles)", f"sequences, {queries} queries": SEQUENCES}
    return Arm(f"queries{queries}", rows, {"single_labels.rows": queries})


def _of_architecture(kind: str) -> Arm:
    rows = {f"{kind}, {stage}": f"{kind} ({stage})" for stage in ("singles", "sequences")}
    return Arm(kind, rows, {"shared.architecture": kind})


def _changed(name: str, what: str, **settings: Any) -> Arm:
    return Arm(name, {what: SEQUENCES}, {key.replace("__", "."): value for key, value in settings.items()})


SEQUENCES = "coverage (sequences)"
DEFAULT = Arm("default", {"singles": "coverage (singles)", "sequences": SEQUENCES}, rival=False)
SFT = Arm("beams", {"SFT": "v2 (SFT)", "RCE": "RCE", "GRPO": "GRPO"}, BEAMS)
CHEAP_SFT = Arm("beams_same_price", {"SFT, same price": "v2 (SFT)"}, SFT_ALONE, anchors=SAME_PRICE)
RL = Arm("rl", {"RL": "coverage (RL)"}, {"shared.recipe": "rl"})
WEAK = Arm(
    "weak_start",
    {"50 queries": SEQUENCES, "50 queries, RL in two rounds": "coverage (RL)"},
    {f"{step}.{name}": value for step, own in PRESETS["weak_start"].items() for name, value in own.items()},
)
PRICED = [_priced(queries) for queries in (37, 75, 300)]
RIVALS = [_of_architecture(kind) for kind in ARCHITECTURES]
CHANGED = [
    _changed("expectation", "dense_loss=expectation", sequence_selector__dense_loss="expectation"),
    _changed("log_expectation", "dense_loss=log_expectation", sequence_selector__dense_loss="log_expectation"),
    _changed("marginal", "dense_loss=marginal", sequence_selector__dense_loss="marginal"),
    _changed("kept", "kept_by=expected_reward", sequence_selector__kept_by="expected_reward"),
    _changed("weighted", "step_weights=1,2", sequence_selector__step_weights=[1, 2]),
]
ARMS = [DEFAULT, CHEAP_SFT, SFT, RL, WEAK, *PRICED, *RIVALS, *CHANGED]


def opened(arm: Arm, dataset: str, seeds: Sequence[int], results: Path) -> dict[int, Experiment]:
    """The arm under each seed, in a results folder of its own where it replaces labels that others share."""
    labels = [f"{key}{value}" for key, value in arm.settings.items() if key.startswith("single_labels")]
    folder = results / dataset / "_".join(["cell", *labels]).replace("single_labels.", "")
    if arm.anchors is None:
        os.environ.pop("ICD_CATALOG", None)
    else:
        os.environ["ICD_CATALOG"] = str(_overlay(dataset, arm.anchors, folder))
    settings = {"shared.recipe": "sequences", **ALL_QUESTIONS, **arm.settings}
    if arm.rival:
        settings |= {"shared.name": arm.name, **SELECTORS_ALONE}
    return of_seeds(icd_assets.open_cell(dataset, *CELL, settings, results=folder), seeds)


def _overlay(dataset: str, anchors: int, folder: Path) -> Path:
    """A catalog in which the data set has so many anchors, and is as shipped in all else."""
    shipped = Path(catalog.__file__).with_name("catalog.yaml").read_text(encoding="utf-8")
    entry = yaml.safe_load(shipped)["datasets"][dataset] | {"sample_num": anchors}
    path = folder / f"{anchors}_anchors.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({"datasets": {dataset: entry}}), encoding="utf-8")
    return path


def rule_scores(experiment: Experiment, dataset: str) -> list[float]:
    """What the VLM scores on every question with the demonstrations of who knows the world's rule."""
    model, library, queries = experiment.model, experiment.data.train, experiment.data.validation
    splits = {"demo": (TRAIN, VALIDATION), "demo_pairs": (PAIRS_TRAIN, PAIRS_VALIDATION)}[dataset]
    shown, asked = (drawn(split, int(os.environ.get("DEMO_SEED") or SEED)) for split in splits)
    pools = json.loads((experiment.paths.evaluation / "validation_pools.json").read_bytes())
    chosen = [two_that_tell(asked[query.row], pools[str(query.row)], shown) for query in queries]
    backend = model.backend.open(
        digest=model.backend.digest(experiment.store.digests, fetch=False),
        style=model.prompt,
        generation=model.generation,
        device="cpu",
    )
    metric = experiment.task.metric([*queries])
    prompts = [Prompt.of(query, [library[row] for row in two]) for query, two in zip(queries, chosen, strict=True)]
    with AnswerStore(experiment.store.private / "answers.sqlite") as store:
        answers = [metric.clean(text) for text in CachedBackend(backend, store).generate(prompts)]
    return metric.scores(answers, [query.answers for query in queries])


def train(dataset: str, seeds: Sequence[int], results: Path, only: Sequence[str]) -> None:
    for arm in ARMS:
        if only and arm.name not in only:
            continue
        of_arm = seeds[:FEW] if arm in (*PRICED, *RIVALS[1:]) else (TUNED_ON,) if arm in CHANGED else seeds
        if arm is DEFAULT and TUNED_ON not in seeds:
            of_arm = (*seeds, TUNED_ON)
        for seed, experiment in opened(arm, dataset, of_arm, results).items():
            start = time.monotonic()
            for step in icd_assets.Plan.of(experiment).to_make:
                icd_assets.build(experiment, step)
            rows = Comparison.read(experiment.files("evaluation")[0])
            found = (f"{name} {100 * rows.row(own).score.value:.1f}" for name, own in arm.rows.items())
            seconds = time.monotonic() - start
            print(f"{dataset}, {arm.name}, seed {seed}: {', '.join(found)} ({seconds:.0f} s)", flush=True)


@dataclass(frozen=True)
class Found:
    """What one selector answered under every seed: scores [S, Q] over the same questions."""

    images: tuple[int | str, ...]
    by_seed: Mapping[int, tuple[float, ...]]
    prompts: int | None  # the mean over seeds

    @property
    def mean(self) -> Interval:
        """Over questions, of each question's mean over the seeds."""
        return interval(_mean_over_seeds(self), self.images)

    def of_seed(self, seed: int) -> float:
        return statistics.fmean(self.by_seed[seed])


def _mean_over_seeds(found: Found) -> list[float]:
    return [statistics.fmean(values) for values in zip(*found.by_seed.values(), strict=True)]


def pooled(one: Found, other: Found) -> Paired:
    """``one`` minus ``other``, over the seeds."""
    gains = [a - b for a, b in zip(_mean_over_seeds(one), _mean_over_seeds(other), strict=True)]
    return paired(gains, one.images)


def of_each_seed(one: Found, other: Found) -> dict[int, Paired]:
    return {
        seed: paired([a - b for a, b in zip(one.by_seed[seed], other.by_seed[seed], strict=True)], one.images)
        for seed in one.by_seed
    }


class Results:
    """Reads what was trained."""

    def __init__(self, seeds: Sequence[int], results: Path) -> None:
        self._seeds, self._results = seeds, results
        self._read: dict[tuple[str, str, str], Found] = {}

    def of(self, arm: Arm, strategy: str, dataset: str) -> Found:
        """A row of the arm's evaluations at two shots (zero-shot: at none), or who knows the rule."""
        if (found := self._read.get((arm.name, strategy, dataset))) is None:
            found = self._read[arm.name, strategy, dataset] = self._found(arm, strategy, dataset)
        return found

    def _found(self, arm: Arm, strategy: str, dataset: str) -> Found:
        scores: dict[int, tuple[float, ...]] = {}
        prices: list[int | None] = []
        images: tuple[int | str, ...] = ()
        for seed, experiment in opened(arm, dataset, self._seeds, self._results).items():
            files = {path.name: path for path in experiment.files("evaluation")}
            if strategy == RULE:
                scores[seed] = tuple(rule_scores(experiment, dataset))
                images = tuple(experiment.data.validation.image_ids)
                prices.append(None)
                continue
            row = Comparison.read(files["comparison.json"]).row(strategy)
            read = read_scores(files[NAME])[strategy, row.shots]
            scores[seed], images = tuple(read.scores), tuple(read.images)
            prices.append(row.prompts)
        known = [price for price in prices if price is not None]
        return Found(images, scores, round(statistics.fmean(known)) if known else None)


BASELINES = ("zero-shot", "random", "image+text similarity", "MMR", "DPP", "BM25", "vote-k", "random, same type")
SHOWN: tuple[tuple[str, Arm, str], ...] = (
    *((name, DEFAULT, name) for name in BASELINES),
    ("v2, SFT on beams", SFT, "v2 (SFT)"),
    ("v2, then RCE", SFT, "RCE"),
    ("v2, then GRPO", SFT, "GRPO"),
    ("v2, labels of single demonstrations", RIVALS[0], "v2 (singles)"),
    ("v2, labels of second picks too", RIVALS[0], "v2 (sequences)"),
    ("coverage, labels of single demonstrations", DEFAULT, "coverage (singles)"),
    ("**coverage, labels of second picks too (default)**", DEFAULT, SEQUENCES),
    ("coverage, then RL", RL, "coverage (RL)"),
    ("coverage, single demonstrations of 50 queries", WEAK, "coverage (singles)"),
    ("coverage, second picks of 50 queries too", WEAK, SEQUENCES),
    ("weak start: these, then RL in two rounds", WEAK, "coverage (RL)"),
    ("the default, shuffled labels", DEFAULT, f"{SEQUENCES}, shuffled labels"),
    ("the default, whole library", DEFAULT, f"{SEQUENCES}, whole library"),
    ("knows the rule", DEFAULT, RULE),
    ("best in pool (oracle), 300 questions", DEFAULT, "best in pool (oracle)"),
)
# The one − the other, and the data sets that the claim is about.
CLAIMS: tuple[tuple[str, tuple[Arm, str], tuple[Arm, str]], ...] = (
    ("default − coverage, singles", (DEFAULT, SEQUENCES), (DEFAULT, "coverage (singles)")),
    ("default − v2, same labels", (DEFAULT, SEQUENCES), (RIVALS[0], "v2 (sequences)")),
    ("default − SFT on beams, two thirds of its prompts", (DEFAULT, SEQUENCES), (SFT, "v2 (SFT)")),
    ("default − SFT on beams of 160 queries", (DEFAULT, SEQUENCES), (CHEAP_SFT, "v2 (SFT)")),
    ("singles − SFT on beams, a third of its prompts", (DEFAULT, "coverage (singles)"), (SFT, "v2 (SFT)")),
    ("RL − default", (RL, "coverage (RL)"), (DEFAULT, SEQUENCES)),
    ("GRPO − SFT on beams", (SFT, "GRPO"), (SFT, "v2 (SFT)")),
    ("weak start, RL − SFT on beams of 300 queries", (WEAK, "coverage (RL)"), (SFT, "v2 (SFT)")),
    ("weak start, RL − sequences of its 50 queries", (WEAK, "coverage (RL)"), (WEAK, SEQUENCES)),
    ("weak start, RL − singles of its 50 queries", (WEAK, "coverage (RL)"), (WEAK, "coverage (singles)")),
    ("whole library − pool of 64", (DEFAULT, f"{SEQUENCES}, whole library"), (DEFAULT, SEQUENCES)),
)
# What is added, one after the other, each to the row above it.
ADDED: tuple[tuple[str, Arm, str], ...] = (
    ("v2, SFT on beams of 300 queries", SFT, "v2 (SFT)"),
    ("dense labels of single demonstrations instead (v2, 150 queries)", RIVALS[0], "v2 (singles)"),
    ("labels of second picks (v2)", RIVALS[0], "v2 (sequences)"),
    ("a selector that can complement (coverage)", DEFAULT, SEQUENCES),
    ("RL on queries of its own", RL, "coverage (RL)"),
)


class Report:
    """The page: text and tables, from what was trained."""

    def __init__(self, seeds: Sequence[int], results: Path) -> None:
        self._found, self._seeds = Results(seeds, results), seeds
        self._few, self._tuning = Results(seeds[:FEW], results), Results((TUNED_ON,), results)

    def __str__(self) -> str:
        few = f"Seeds {', '.join(map(str, self._seeds[:FEW]))}."
        parts = (
            ("All strategies", self._drawn(), self.main()),
            ("Seed by seed", "Accuracy in percent: one word, then two words.", self.seeds()),
            ("Differences", "Points, with 95 % intervals.", self.claims()),
            ("What each addition brought", "Points over the row above.", self.added()),
            ("Prices", f"Accuracy by what the labels cost. {few}", self.prices()),
            ("Architectures", f"All on labels of 150 queries. {few}", self.architectures()),
            ("Settings", f"Points over the default, on the tuning seed {TUNED_ON}.", self.changed()),
        )
        tables = "\n\n".join(f"## {title}\n\n{text}\n\n{table}" for title, text, table in parts)
        return f"# Results\n\nThe output of `python benchmarks/learning.py report`.\n\n{tables}"

    def _drawn(self) -> str:
        questions = len(self._of(DEFAULT, SEQUENCES, "demo").images)
        draw = os.environ.get("DEMO_SEED", "")
        return (
            f"Seeds {', '.join(map(str, self._seeds))}; {questions:,} questions of each kind; two shots, pools of "
            f"64{f'; draw {draw} of the world' if draw else ''}. Settings were chosen on seed {TUNED_ON} alone. "
            "Intervals are over questions, for these seeds. Prompts are those behind the labels of one seed. RCE "
            "and GRPO learn from a query an update, at Lever-Plus' rates."
        )

    def _of(self, arm: Arm, strategy: str, dataset: str) -> Found:
        return self._found.of(arm, strategy, dataset)

    def _both(self, arm: Arm, strategy: str, found: Results | None = None) -> list[Found]:
        return [(found or self._found).of(arm, strategy, dataset) for dataset in DATASETS]

    def main(self) -> str:
        header = ["strategy", *(f"{words}, %" for words in DATASETS.values()), "VLM prompts"]
        lines = []
        for name, arm, strategy in SHOWN:
            both = self._both(arm, strategy)
            lines.append([name, *(bracketed(one.mean, 1) for one in both), _price(both)])
        return text_table(header, lines)

    def seeds(self) -> str:
        header = ["strategy", *(f"{seed}" for _ in DATASETS for seed in self._seeds)]
        lines = []
        for name, arm, strategy in SHOWN[len(BASELINES) :]:
            values = [100 * one.of_seed(seed) for one in self._both(arm, strategy) for seed in self._seeds]
            lines.append([name, *(f"{value:.1f}" for value in values)])
        return text_table(header, lines)

    def claims(self) -> str:
        header = ["difference", "questions", "all seeds", *(f"seed {seed}" for seed in self._seeds)]
        lines = []
        for name, one, other in CLAIMS:
            for dataset, words in DATASETS.items():
                left, right = self._of(*one, dataset), self._of(*other, dataset)
                cells = [pooled(left, right), *of_each_seed(left, right).values()]
                lines.append([name, words, *(bracketed(cell.interval, 1, "+") for cell in cells)])
        return text_table(header, lines)

    def prices(self) -> str:
        lines = [
            [name, f"{both[0].prompts:,}", *(bracketed(one.mean, 1) for one in both)]
            for name, both in sorted(self.priced().items(), key=lambda item: item[1][0].prompts or 0)
        ]
        return text_table(["recipe", "prompts", *DATASETS.values()], lines)

    def priced(self) -> dict[str, list[Found]]:
        """All that has a price, by what was paid for it."""
        found, few = {}, self._few
        for arm, queries in ((PRICED[0], 37), (WEAK, 50), (PRICED[1], 75), (DEFAULT, 150), (PRICED[2], 300)):
            found[f"singles, {queries} queries"] = self._both(arm, "coverage (singles)", few)
            found[f"sequences, {queries} queries"] = self._both(arm, SEQUENCES, few)
        found["rl, 50 queries, two rounds"] = self._both(WEAK, "coverage (RL)", few)
        found["rl, 150 queries"] = self._both(RL, "coverage (RL)", few)
        found[f"beams (SFT), {SAME_PRICE} queries"] = self._both(CHEAP_SFT, "v2 (SFT)", few)
        found["beams (SFT), 300 queries"] = self._both(SFT, "v2 (SFT)", few)
        found["GRPO after beams, 300 queries"] = self._both(SFT, "GRPO", few)
        return found

    def architectures(self) -> str:
        header = [
            "selector",
            *(f"{words}, {stage}" for words in DATASETS.values() for stage in ("singles", "sequences")),
        ]
        lines = []
        for arm, kind in ((DEFAULT, "coverage"), *zip(RIVALS, ARCHITECTURES, strict=True)):
            found = [
                self._few.of(arm, f"{kind} ({stage})", dataset)
                for dataset in DATASETS
                for stage in ("singles", "sequences")
            ]
            lines.append([kind, *(bracketed(one.mean, 1) for one in found)])
        return text_table(header, lines)

    def added(self) -> str:
        lines, before = [], None
        for name, arm, strategy in ADDED:
            both = self._both(arm, strategy)
            gains = [
                "" if before is None else bracketed(pooled(one, old).interval, 1, "+")
                for one, old in zip(both, before or both, strict=True)
            ]
            scores = [f"{100 * one.mean.value:.1f}" for one in both]
            lines.append(
                [name, *(cell for pair in zip(scores, gains, strict=True) for cell in pair), _price(both)]
            )
            before = both
        words = [column for title in DATASETS.values() for column in (title, "gain")]
        return text_table(["added", *words, "prompts"], lines)

    def changed(self) -> str:
        lines = []
        for arm in CHANGED:
            (name,) = arm.rows
            gains = [
                bracketed(pooled(one, old).interval, 1, "+")
                for one, old in zip(
                    self._both(arm, SEQUENCES, self._tuning),
                    self._both(DEFAULT, SEQUENCES, self._tuning),
                    strict=True,
                )
            ]
            lines.append([name, *gains])
        return text_table(["setting", *DATASETS.values()], lines)

    def picture(self, path: Path) -> None:
        """Accuracy against prompts, on a logarithmic axis."""
        import matplotlib

        matplotlib.use("svg")
        matplotlib.rcParams |= {"svg.hashsalt": "prices", "svg.fonttype": "none"}  # equal numbers, equal bytes
        import matplotlib.pyplot as plt

        figure, axes = plt.subplots(1, len(DATASETS), figsize=(9, 4), sharex=True, layout="constrained")
        for at, (axis, words) in enumerate(zip(axes, DATASETS.values(), strict=True)):
            series: dict[str, list[Found]] = {}
            for name, both in self.priced().items():
                series.setdefault(name.split(",")[0], []).append(both[at])
            for (name, found), marker in zip(series.items(), "osD^v", strict=False):
                found.sort(key=lambda one: one.prompts or 0)
                means = [one.mean for one in found]
                spread = [[m.value - m.low for m in means], [m.high - m.value for m in means]]
                axis.errorbar(
                    [one.prompts for one in found],
                    [100 * m.value for m in means],
                    [[100 * value for value in side] for side in spread],
                    marker=marker,
                    markersize=4,
                    linewidth=1.2,
                    capsize=2,
                    label=name,
                )
            rule = 100 * self._of(DEFAULT, RULE, [*DATASETS][at]).mean.value
            axis.axhline(rule, color="gray", linewidth=0.8, linestyle="--")
            axis.annotate(
                "knows the rule", (0.02, rule - 0.2), xycoords=("axes fraction", "data"), fontsize=7, va="bottom"
            )
            axis.set(xscale="log", title=f"answers of {words}", xlabel="VLM prompts behind the labels")
            axis.set_xticks(ticks := [2500, 5000, 10_000, 20_000, 40_000], [f"{tick:,}" for tick in ticks])
            axis.minorticks_off()
            axis.grid(alpha=0.3)
        axes[0].set_ylabel("accuracy %")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=8)
        figure.savefig(path, metadata={"Date": None})


def _price(both: Sequence[Found]) -> str:
    return "" if both[0].prompts is None else " / ".join(dict.fromkeys(f"{one.prompts:,}" for one in both))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="42,43,44,46")
    parser.add_argument("--results", type=Path, default=Path("results/learning"))
    parts = parser.add_subparsers(dest="part", required=True)
    training = parts.add_parser("train")
    training.add_argument("dataset", choices=DATASETS)
    training.add_argument("--only", default="", help="arms, with commas between them")
    reporting = parts.add_parser("report")
    reporting.add_argument("--picture", type=Path)
    given = parser.parse_args()
    seeds, results = read_seeds(given.seeds), given.results.resolve()
    if given.part == "train":
        train(given.dataset, seeds, results, [name for name in given.only.split(",") if name])
        return
    report = Report(seeds, results)
    print(report)
    if given.picture is not None:
        report.picture(given.picture)


if __name__ == "__main__":
    main()
