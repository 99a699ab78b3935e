"""What a search for beams loses that asks fewer prompts: of the beams, and of the selector that imitates them.

    python benchmarks/beam_cost.py simulate
    python benchmarks/beam_cost.py demo --seeds 45        # to choose by; demo_pairs likewise
    python benchmarks/beam_cost.py demo --seeds 50 51 52 --anchors 75 --only "expand 16"  # to report
    python benchmarks/beam_cost.py demo_pairs --seeds 50 51 52 53 54 55 --anchors 75 --trainings 4 --only …

For each seed the demo's pools are made once and searched in full; each cut then asks a subset of those prompts, so
only the full search costs anything. Of each cut: prompts a query; the mean total gain of its beams relative to the
full search's; the share of queries with the same best beam, and of the full search's beams that it has; and the
accuracy on the validation split, at the shots it was trained for, of the v2 selector trained on its beams. Beside
it the difference to the full search, paired by seed, with its 95 % interval by Student's t.

``simulate`` asks no model. Of each query the gains of 64 single candidates and of their pairs are drawn:

    P(answer | a, b) = sigmoid(−3 + u_a + u_b + s · z_ab),   u_c, z_ab ~ Normal(0, 1), z_ab alike in both orders

so at s = 0 pairs rank as the sums of their singles do, and as s grows, singles say less about pairs: the column
names the share of the variance of a pair that interactions make up, s² / (2 + s²).

A cut follows the singles, of which every one is asked unless it says so:

- expand n: each of the five beams tries the n best singles (``beam_data.expand``).
- by rank, n: the beam of rank i tries the n / i best. Were gains sums, the five best pairs would lie there.
- within reach: four singles at a time, until the sum of a beam's and the next single's gain, and of the largest
  surplus over such a sum that was seen, falls below the fifth best pair.
- halving: the beams try four singles each, then the three with the best pairs four more, and the best one eight.
- nearest half, expand n: only the 32 candidates most alike to the query are asked alone. One prompt is all that a
  single takes, so what cuts them must come from elsewhere.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from paired_by_seed import difference

import icd_assets
from icd_assets.evaluation.select import greedy_selection
from icd_assets.evaluation.tables import text_table
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.seeds import of_seeds
from icd_assets.pools.files import read_pools
from icd_assets.pools.rows import all_rows, candidate_rows
from icd_assets.pools.samplers import build_pools
from icd_assets.scoring.collect_beams import collect_beams
from icd_assets.scoring.groups import groups_of_beams
from icd_assets.scoring.infoscore import Beam, BeamConfig, QueryBeams
from icd_assets.selector.encoder import ClipEncoder
from icd_assets.selector.sft import train_sft
from icd_assets.vlm.answers import open_answers
from icd_assets.vlm.backend import Backend, HandOver, Question, Reply
from icd_assets.vlm.cached_backend import CachedBackend
from icd_assets.vlm.prompts import Prompt

BEAMS = 5
WHOLE = "whole pool"
Icds = tuple[int, ...]  # candidates in the order chosen


class Search:
    """One query's search under way. ``probabilities``: P(answer | demonstrations), in the order chosen, of many;
    ``near``: the candidates, the most alike to the query first."""

    def __init__(self, near: Sequence[int], probabilities: Callable[[Sequence[Icds]], Sequence[float]]) -> None:
        self.near = near
        self.gain: dict[Icds, float] = {}
        self._probabilities = probabilities
        self._alone = probabilities([()])[0]

    @property
    def prompts(self) -> int:
        return 1 + len(self.gain)

    def ask(self, sequences: Sequence[Icds]) -> None:
        new = [icds for icds in dict.fromkeys(sequences) if icds not in self.gain and len({*icds}) == len(icds)]
        found = self._probabilities(new) if new else []
        self.gain |= {icds: p - self._alone for icds, p in zip(new, found, strict=True)}

    def singles(self) -> list[int]:
        """Those that were asked, best first."""
        return [icds[0] for icds in self._best(1)]

    def pairs(self) -> list[Icds]:
        """The best beams, each set of demonstrations once."""
        kept: dict[frozenset[int], Icds] = {}
        for icds in self._best(2):
            kept.setdefault(frozenset(icds), icds)
        return [*kept.values()][:BEAMS]

    def best_with(self, beam: int) -> float:
        """The largest gain of a pair that grew from it."""
        return max(gain for icds, gain in self.gain.items() if icds[0] == beam and len(icds) == 2)

    def beams(self, row: int) -> QueryBeams:
        """As the search of the package gives them, which puts a new demonstration to the left."""
        return QueryBeams(row, tuple(Beam(icds[::-1], self.gain[icds], icds) for icds in self.pairs()))

    def _best(self, shots: int) -> list[Icds]:
        of_length = [icds for icds in self.gain if len(icds) == shots]
        return sorted(of_length, key=lambda icds: (-self.gain[icds], icds))


Cut = Callable[[Search], None]


def expand(count: int, of_singles: float = 1.0) -> Cut:
    def cut(search: Search) -> None:
        search.ask([(single,) for single in search.near[: round(of_singles * len(search.near))]])
        singles = search.singles()
        search.ask([(beam, single) for beam in singles[:BEAMS] for single in singles[:count]])

    return cut


def by_rank(reach: int) -> Cut:
    def cut(search: Search) -> None:
        search.ask([(single,) for single in search.near])
        singles = search.singles()
        for rank, beam in enumerate(singles[:BEAMS], start=1):
            search.ask([(beam, single) for single in singles[: reach // rank]])

    return cut


def within_reach(search: Search, step: int = 4) -> None:
    search.ask([(single,) for single in search.near])
    singles, gain = search.singles(), search.gain
    tried, growing = 0, singles[:BEAMS]
    while growing and tried < len(singles):
        search.ask([(beam, single) for beam in growing for single in singles[tried : tried + step]])
        tried += step
        pairs = [icds for icds in gain if len(icds) == 2]
        surplus = max(gain[a, b] - gain[(a,)] - gain[(b,)] for a, b in pairs)
        last = gain[search.pairs()[-1]]
        rest = singles[tried : tried + 1]
        growing = [beam for beam in growing for c in rest if gain[(beam,)] + gain[(c,)] + surplus >= last]


def halving(search: Search) -> None:
    search.ask([(single,) for single in search.near])
    singles, growing, tried = search.singles(), search.singles()[:BEAMS], 0
    for kept, step in ((BEAMS, 4), (3, 4), (1, 8)):
        growing = growing[:kept]
        search.ask([(beam, single) for beam in growing for single in singles[tried : tried + step]])
        growing.sort(key=lambda beam: -search.best_with(beam))
        tried += step


CUTS: dict[str, Cut] = {
    WHOLE: expand(10**9),
    "expand 32": expand(32),
    "expand 16": expand(16),
    "expand 8": expand(8),
    "expand 4": expand(4),
    "by rank, 16": by_rank(16),
    "within reach": within_reach,
    "halving": halving,
    "nearest half, expand 8": expand(8, of_singles=0.5),
}


@dataclass(frozen=True)
class Found:
    """What a cut found, over all queries, beside the full search."""

    prompts: float  # a query
    gain: float  # of its beams, by that of the full search's
    same_best: float
    shared: float  # of the full search's beams
    accuracies: Sequence[float] = ()  # percent, of each training

    @classmethod
    def of(cls, searches: Sequence[Search], full: Sequence[Search], accuracies: Sequence[float] = ()) -> Found:
        both = [(one.pairs(), other.pairs()) for one, other in zip(searches, full, strict=True)]
        gains = [
            sum(search.gain[icds] for search, pairs in zip(some, beams, strict=True) for icds in pairs)
            for some, beams in zip((searches, full), zip(*both, strict=True), strict=True)
        ]
        shared = [len({*map(frozenset, one)} & {*map(frozenset, other)}) / len(other) for one, other in both]
        return cls(
            statistics.fmean(search.prompts for search in searches),
            gains[0] / gains[1],
            statistics.fmean(one[0] == other[0] for one, other in both),
            statistics.fmean(shared),
            accuracies,
        )


class InMemory(Backend):
    """A backend in front of which answers stand in memory."""

    def __init__(self, backend: Backend) -> None:
        super().__init__(digest=backend.digest, style=backend.style, generation=backend.generation)
        self._backend = backend
        self._known: dict[Question, Reply] = {}

    def ask(self, questions: Sequence[Question], hand_over: HandOver[Reply]) -> None:
        new = [question for question in dict.fromkeys(questions) if question not in self._known]
        self._known |= zip(new, self._backend.replies(new), strict=True)
        hand_over({at: self._known[question] for at, question in enumerate(questions)})


class Demo:
    """One seed of a demo data set: its pools, its model, and what selectors trained on beams answer."""

    def __init__(self, dataset: str, seed: int, anchors: int, results: Path) -> None:
        settings = {"shared.recipe": "beams"}
        cell = icd_assets.open_cell(dataset, "rand_sampler", "tiny_vl", settings, results=results / dataset)
        self.experiment: Experiment = of_seeds(cell, (seed,))[seed]
        icd_assets.build(self.experiment, "candidate_pools")
        data, entry = self.experiment.data, self.experiment.encoder(self.experiment.dataset.encoder)
        self.library, self.asked = data.train, [*data.validation]
        config = self.experiment.config("candidate_pools")
        pools = read_pools(self.experiment.paths.train_pools, n_rows=len(data.train), size=config.pool_size)
        self.pools = dict([*pools.items()][:anchors])
        self.validation = build_pools(
            self.experiment.cell.sampler, self.asked, self.library, config, same_split=False
        )
        encoder = ClipEncoder.load(entry.path, revision=entry.revision, device="cpu")
        rows = sorted({*all_rows(self.pools), *candidate_rows(self.validation)})
        self._place = {row: place for place, row in enumerate(rows)}
        self._vectors = encoder.encode([self.library[row] for row in rows])  # [M, D]
        self._asked = encoder.encode(self.asked)  # [Q, D]

    def vlm(self) -> CachedBackend:
        model = self.experiment.model
        backend = model.backend.open(
            digest=model.backend.digest(self.experiment.store.digests, fetch=False),
            style=model.prompt,
            generation=model.generation,
            device="cpu",
        )
        return CachedBackend(backend, open_answers(self.experiment.store.answers))

    def search(self, row: int, vlm: Backend) -> Search:
        query, pool = self.library[row], self.pools[row]
        alike = self._vectors[[self._place[c] for c in pool]] @ self._vectors[self._place[row]]  # [K]

        def probabilities(sequences: Sequence[Icds]) -> list[float]:
            prompts = [Prompt.of(query, [self.library[c] for c in icds[::-1]]) for icds in sequences]
            found = vlm.answer_likelihoods(prompts, [query.answer] * len(prompts))
            return [likelihood.probability for likelihood in found]

        return Search([pool[at] for at in alike.argsort(descending=True).tolist()], probabilities)

    def accuracy(self, beams: Mapping[int, QueryBeams], training: int, vlm: Backend) -> float:
        """Percent, over all validation questions, of a v2 selector that imitates the beams."""
        embeddings = {row: self._vectors[self._place[row]] for row in all_rows(self.pools)}
        groups = groups_of_beams(beams, self.pools, embeddings)
        config = self.experiment.config("v2_checkpoint")
        policy = train_sft(groups, config.model_copy(update={"seed": config.seed + 1000 * training})).policy
        places = {row: [self._place[c] for c in pool] for row, pool in self.validation.items()}
        picked = greedy_selection("", policy, places, 2, self._asked, self._vectors).pointers
        chosen = [[self.library[pool[at]] for at in picked[row]] for row, pool in self.validation.items()]
        metric = self.experiment.task.metric(self.asked)
        prompts = [Prompt.of(query, icds) for query, icds in zip(self.asked, chosen, strict=True)]
        answers = [metric.clean(text) for text in vlm.generate(prompts)]
        return 100 * statistics.fmean(metric.scores(answers, [query.answers for query in self.asked]))

    def by_the_package(self, expand: int, vlm: Backend) -> list[list[Icds]]:
        """What its own search finds, of each query."""
        queries = [self.library[row] for row in self.pools]
        found = collect_beams(queries, self.pools, self.library, vlm, BeamConfig(expand=expand))
        return [[beam.chosen for beam in of_query.beams] for of_query in found.values()]


def measured(
    demo: Demo, names: Sequence[str], trainings: int, known: Mapping[str, Found]
) -> Iterator[tuple[str, Found]]:
    """Each cut's figures; what is known is not trained again."""
    with demo.vlm() as kept:
        vlm = InMemory(kept)
        demo.by_the_package(0, vlm)  # asks in batches of many queries, which the cuts do not
        full: list[Search] = []
        for name in names:
            start = time.monotonic()
            searches = [demo.search(row, vlm) for row in demo.pools]
            for search in searches:
                CUTS[name](search)
            full = full or searches
            if name == WHOLE or name.startswith("expand"):
                count = 0 if name == WHOLE else int(name.split()[-1])
                if demo.by_the_package(count, vlm) != [search.pairs() for search in searches]:
                    raise RuntimeError(f"{name}: the package's search finds other beams")
            beams = {row: search.beams(row) for row, search in zip(demo.pools, searches, strict=True)}
            accuracies = [*known[name].accuracies] if name in known else []
            accuracies += [demo.accuracy(beams, n, vlm) for n in range(len(accuracies), trainings)]
            shown = " ".join(f"{value:.2f}" for value in accuracies)
            print(f"{name}: {shown} ({time.monotonic() - start:.0f} s)", file=sys.stderr, flush=True)
            yield name, Found.of(searches, full, accuracies)


def of_seed(
    dataset: str, seed: int, names: Sequence[str], trainings: int, anchors: int, results: Path
) -> dict[str, Found]:
    """From the file of what was measured, as far as it goes."""
    path = results / f"{dataset}_{seed}_{anchors}.json"
    known = {k: Found(**v) for k, v in json.loads(path.read_text()).items()} if path.exists() else {}
    if any(name not in known or len(known[name].accuracies) < trainings for name in names):
        print(f"{dataset}, seed {seed}", file=sys.stderr, flush=True)
        for name, found in measured(Demo(dataset, seed, anchors, results), names, trainings, known):
            known[name] = found
            path.write_text(json.dumps({name: asdict(one) for name, one in known.items()}, indent=1) + "\n")
    return {name: known[name] for name in names}


def compare(dataset: str, found: Mapping[int, Mapping[str, Found]], names: Sequence[str], trainings: int) -> str:
    seeds = [*found.values()]
    accuracy = {
        name: [statistics.fmean(one[name].accuracies[:trainings]) for one in seeds if trainings] for name in names
    }
    lines = [
        [
            name,
            f"{_mean(seeds, name, 'prompts'):.0f}",
            *(f"{100 * _mean(seeds, name, what):.1f}" for what in ("gain", "same_best", "shared")),
            f"{statistics.fmean(accuracy[name]):.2f}" if trainings else "",
            difference(accuracy[name], accuracy[names[0]], 2),
        ]
        for name in names
    ]
    head = ["search", "prompts", "gain, %", "same best, %", "its beams, %", "accuracy, %", "difference"]
    return f"{dataset}, seeds {' '.join(map(str, found))}\n\n{text_table(head, lines)}"


def _mean(found: Sequence[Mapping[str, Found]], name: str, what: str) -> float:
    return statistics.fmean(getattr(one[name], what) for one in found)


def drawn(rng: np.random.Generator, strength: float, pool: int = 64) -> Search:
    """A query of the simulation."""
    single, pair = rng.normal(size=pool), np.triu(rng.normal(size=(pool, pool)), 1)
    pair = strength * (pair + pair.T)

    def probabilities(sequences: Sequence[Icds]) -> list[float]:
        sums = [sum(single[list(icds)]) + (pair[icds] if len(icds) == 2 else 0.0) for icds in sequences]
        return [1 / (1 + math.exp(3 - value)) for value in sums]

    return Search(range(pool), probabilities)


def simulate(queries: int, seed: int) -> str:
    names = [name for name in CUTS if not name.startswith("nearest")]
    columns: dict[str, list[str]] = {name: [] for name in names}
    shares = (0.0, 0.02, 0.05, 0.1, 0.2, 0.5)
    for share in shares:
        strength = math.sqrt(2 * share / (1 - share))
        of_cut: dict[str, list[Search]] = {}
        for name in names:
            rng = np.random.default_rng(seed)  # the same queries for every cut
            of_cut[name] = [drawn(rng, strength) for _ in range(queries)]
            for search in of_cut[name]:
                CUTS[name](search)
            found = Found.of(of_cut[name], of_cut[WHOLE])
            columns[name].append(f"{found.prompts:.0f}: {100 * found.gain:.1f}, {100 * found.same_best:.0f}")
    head = ["search", *(f"{100 * share:.0f} %" for share in shares)]
    table = text_table(head, [[name, *cells] for name, cells in columns.items()])
    return f"prompts a query: gain of the beams and same best beam, % of the whole pool's\n\n{table}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["demo", "demo_pairs", "simulate"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[45, 46, 47])
    parser.add_argument("--only", nargs="+", choices=CUTS, default=[*CUTS], metavar="SEARCH")
    parser.add_argument("--results", type=Path, default=Path("results/beam_cost"))
    parser.add_argument("--trainings", type=int, default=1, help="of each selector; 0: beams alone")
    parser.add_argument("--anchors", type=int, default=150, help="of the demo, the first whose beams are searched")
    parser.add_argument("--queries", type=int, default=300, help="of the simulation")
    given = parser.parse_args()
    if given.part == "simulate":
        print(simulate(given.queries, seed=0))
        return
    names = list(dict.fromkeys([WHOLE, *given.only]))
    torch.set_num_threads(1)
    found = {
        seed: of_seed(given.part, seed, names, given.trainings, given.anchors, given.results.resolve())
        for seed in given.seeds
    }
    print(compare(given.part, found, names, given.trainings))


if __name__ == "__main__":
    main()
