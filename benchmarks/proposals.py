"""Pointers proposed for RL, a batch of queries at a time, beside work of Lever-Plus' shape, one query at a time.

    python benchmarks/proposals.py [--layers 3] [--queries 800] [--library 9009] [--whole 112]

The baseline is written from the specification's G.1 to G.3: a selector of three layers (upstream's class default)
encodes query and pool anew for every step that it scores, so 6 times for beams and 8 times for samples; all pairs
that begin with a beam are listed and sorted. Both use the same selector and one thread. CPU milliseconds a query,
medians of alternating runs; ours includes projecting the library. Ends with 1 if any of 100 queries gets other
beams than from a plain beam search.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from icd_assets.evaluation.tables import text_table
from icd_assets.runtime.seeding import torch_rng
from icd_assets.selector.config import ProposalConfig, SelectorConfig
from icd_assets.selector.decoding import beam_search
from icd_assets.selector.model import PointerSelector, new_policy
from icd_assets.selector.projected import ProjectedLibrary
from icd_assets.selector.proposals import propose

WIDTH, POOL, CHECKED = 512, 64, 100
CONFIG = ProposalConfig()


def one_query(policy: PointerSelector, query: Tensor, pool: Tensor) -> list[tuple[int, ...]]:
    """Fifteen pairs for one query [D] from its pool [K, D]."""

    def scores(chosen: list[int]) -> Tensor:
        state, candidates = policy.encode(query[None], pool[None])
        return policy.logits(state.unsqueeze(1), candidates)[0, 0].index_fill(
            0, torch.tensor(chosen).long(), -100.0
        )

    first = scores([]).log_softmax(-1).topk(CONFIG.num_beams)
    pairs = []
    for value, place in zip(first.values.tolist(), first.indices.tolist(), strict=True):
        second = scores([place]).log_softmax(-1).tolist()
        pairs += [(value + more, (place, other)) for other, more in enumerate(second) if other != place]
    found = [pair for _, pair in sorted(pairs, reverse=True)[: CONFIG.num_beams]]
    for temperature in CONFIG.temps:
        for _ in range(CONFIG.samples_per_temp):
            drawn: list[int] = []
            for _ in range(CONFIG.shots):
                drawn.append(int(torch.multinomial((scores(drawn) / temperature).softmax(-1), 1)))
            found.append((drawn[0], drawn[1]))
    near = functional.cosine_similarity(query[None], pool, dim=-1).argsort(descending=True).tolist()
    found += [(near[rank], near[rank + 1]) for rank in range(CONFIG.num_retrieval)]
    some = torch.randperm(len(pool))[:2].tolist()
    return [*found, (some[0], some[1])]


def one_by_one(policy: PointerSelector, table: Tensor, pools: list[Tensor]) -> None:
    with torch.no_grad():
        for row, pool in enumerate(pools):
            one_query(policy, table[row], pool)


def same_beams(policy: PointerSelector, table: Tensor, pools: Tensor) -> int:
    """Of CHECKED queries, those whose beams are the plain beam search's, one query at a time."""
    rows = list(range(CHECKED))
    found = propose(ProjectedLibrary(policy, table), rows, table[rows], pools[rows], CONFIG)
    plain = [
        beam_search(policy, table[row, None], table[pools[row]][None], CONFIG.shots, CONFIG.num_beams).pointers[0]
        for row in rows
    ]
    beams = [[p.pointer for p in found[row] if p.source == "beam"] for row in rows]
    merged = [list({frozenset(p): tuple(p) for p in reversed(each.tolist())}.values())[::-1] for each in plain]
    return sum(set(one) == set(other) for one, other in zip(beams, merged, strict=True))


def milliseconds(work: Callable[[], object], queries: int) -> float:
    began = time.process_time()
    work()
    return 1000 * (time.process_time() - began) / queries


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--queries", type=int, default=800, help="with pools of 64")
    parser.add_argument("--library", type=int, default=9009)
    parser.add_argument("--whole", type=int, default=112, help="queries for whom the library is the pool")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng = torch_rng(0, "benchmark")
    table = functional.normalize(torch.randn(options.library, WIDTH, generator=rng), dim=-1)
    pools = torch.stack([torch.randperm(len(table), generator=rng)[:POOL] for _ in range(options.queries)])
    policy = new_policy(SelectorConfig(num_layers=options.layers, embedding_dim=WIDTH), 0).eval()
    lines = []
    for size, queries, few in ((POOL, options.queries, 20), (len(table), options.whole, 2)):
        own, asked = list(range(queries)), pools if size == POOL else None
        plain, ours = [], []
        for _ in range(options.runs):
            pool_of = [table[pools[row]] if size == POOL else table for row in range(few)]
            plain.append(milliseconds(partial(one_by_one, policy, table, pool_of), few))
            library = ProjectedLibrary(policy, table)
            ours.append(milliseconds(partial(propose, library, own, table[own], asked, CONFIG), queries))
        slow, fast = statistics.median(plain), statistics.median(ours)
        lines.append([f"{size:,}", f"{slow:,.1f}", f"{fast:.2f}", f"{slow / fast:,.0f}"])
    print(f"{options.layers} layers, CPU milliseconds a query, medians of {options.runs}\n")
    print(text_table(["pool", "a query at a time", "ours", "ratio"], lines))
    same = same_beams(policy, table, pools)
    print(f"\nThe same beams for {same} of {CHECKED} queries.")
    return 0 if same == CHECKED else 1


if __name__ == "__main__":
    sys.exit(main())
