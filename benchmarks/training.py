"""RCE and GRPO on stored pointers, beside a trainer of Lever-Plus' shape: CPU seconds on one thread.

    python benchmarks/training.py [--queries 800] [--batches 1 128]

The baseline is written from the specification's K: a query at a time, copied with its pool for each of its
pointers; AdamW as torch makes it; RCE for 5 epochs, GRPO for 3. Ours runs with its default settings, with other
batches, and as preset lever_plus, which computes and draws what the baseline does. Medians of alternating runs.
Memory: what the queries' pools take, as copies and as rows of one table.
"""

from __future__ import annotations

import argparse
import copy
import random
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from icd_assets.evaluation.tables import text_table
from icd_assets.runtime.seeding import torch_rng
from icd_assets.selector.config import LEVER_PLUS, GrpoConfig, RceConfig, SelectorConfig
from icd_assets.selector.groups import PointerGroup
from icd_assets.selector.grpo import train_grpo
from icd_assets.selector.model import PointerSelector, new_policy
from icd_assets.selector.rce import train_rce

WIDTH, POOL, POINTERS, RCE_EPOCHS, GRPO_EPOCHS = 512, 64, 13, 5, 3


def groups(queries: int, library: int) -> list[PointerGroup]:
    rng, pools = torch_rng(0, "benchmark"), random.Random(0)
    table = functional.normalize(torch.randn(library, WIDTH, generator=rng), dim=-1)
    return [
        PointerGroup(
            row,
            table[row],
            table,
            torch.tensor(pools.sample(range(library), POOL)),
            torch.stack([torch.randperm(POOL, generator=rng)[:2] for _ in range(POINTERS)]),
            torch.randint(3, (POINTERS,), generator=rng).float(),
        )
        for row in range(queries)
    ]


def log_probs(policy: PointerSelector, group: PointerGroup) -> Tensor:
    """Of each pointer [N], with a copy of query and pool for each."""
    count = len(group.pointers)
    pool = group.table[group.pool].expand(count, -1, -1)
    logits = policy(group.query.expand(count, -1), pool, group.pointers.unsqueeze(1))  # [N, 1, S, K]
    found: Tensor = logits.log_softmax(-1).gather(-1, group.pointers[:, None, :, None]).sum((1, 2, 3))
    return found


def baseline(start: PointerSelector, every: list[PointerGroup]) -> None:
    policy, cut = copy.deepcopy(start), int(0.8 * len(every))
    policy.set_dropout(0.5, 0.1)
    with torch.no_grad():
        old = [log_probs(policy.eval(), group) for group in every[:cut]]

    def rce(number: int, epoch: int) -> Tensor:
        return -((every[number].rewards).softmax(0) * log_probs(policy, every[number])).sum()

    def grpo(number: int, epoch: int) -> Tensor:
        kept = every[number].rewards.topk(5 if epoch else 3).indices
        rewards = every[number].rewards[kept]
        advantage = (rewards - rewards.mean()) / rewards.std().clamp(min=0.1)
        ratio = (log_probs(policy, every[number])[kept] - old[number][kept]).exp()
        objective = torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage).mean()
        return 0.15 * (ratio - 1 - ratio.log()).mean() - objective

    for loss_of, epochs, lr in ((rce, RCE_EPOCHS, 1e-4), (grpo, GRPO_EPOCHS, 5e-6)):
        optimizer = torch.optim.AdamW(policy.parameters(), lr=lr)
        for epoch in range(epochs):
            policy.train()
            for number in torch.randperm(cut).tolist():
                loss = loss_of(number, epoch)
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
                optimizer.step()
                loss.item()
            with torch.no_grad():
                for group in every[cut:]:
                    (group.rewards.softmax(0) * log_probs(policy.eval(), group)).sum().item()


def ours(start: PointerSelector, every: list[PointerGroup], own: Mapping[str, Mapping[str, Any]]) -> None:
    """``own``: settings of RceConfig and of GrpoConfig that differ from the defaults."""
    rce = copy.deepcopy(start)
    train_rce(rce, every, RceConfig(rce_epochs=RCE_EPOCHS, **own["RceConfig"]), sft=start)
    policy, rce = rce, copy.deepcopy(rce).eval()
    config = GrpoConfig(grpo_epochs=GRPO_EPOCHS, **own["GrpoConfig"])
    train_grpo(policy, every, config, sft=start, rce=rce)


def of_batch(size: int) -> dict[str, dict[str, Any]]:
    return {name: {"batch_size": size} for name in LEVER_PLUS}


def seconds(work: Callable[[], None]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=800)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 128])
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    every = groups(options.queries, 9009)
    start = new_policy(SelectorConfig(embedding_dim=WIDTH), 0).eval()
    ours(start, every[:10], of_batch(1))  # torch imports much at its first update
    arms: dict[str, Callable[[], None]] = {"a query and pointer at a time": lambda: baseline(start, every)}
    arms["ours, as lever_plus"] = partial(ours, start, every, LEVER_PLUS)
    sizes = {RceConfig().batch_size, GrpoConfig().batch_size}
    default = f"ours, default (batch {' and '.join(map(str, sorted(sizes)))})"
    arms[default] = partial(ours, start, every, {name: {} for name in LEVER_PLUS})
    for batch in options.batches:
        arms[f"ours, batch {batch}"] = partial(ours, start, every, of_batch(batch))
    found: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(options.runs):
        for name, work in arms.items():
            found[name].append(seconds(work))
    medians = {name: statistics.median(each) for name, each in found.items()}
    whole = next(iter(medians.values()))
    lines = [[name, f"{value:.1f}", f"{whole / value:.1f}"] for name, value in medians.items()]
    print(
        f"{options.queries} queries, RCE {RCE_EPOCHS} and GRPO {GRPO_EPOCHS} epochs, medians of {options.runs}\n"
    )
    print(text_table(["trainer", "CPU seconds", "ratio"], lines))
    copied, rows = POOL * WIDTH * 4, POOL * 8
    print(
        f"\nPools of {options.queries:,} queries: {copied * options.queries / 2**20:.0f} MiB as copies, ", end=""
    )
    print(f"{rows * options.queries / 2**20:.1f} MiB as rows")


if __name__ == "__main__":
    main()
