"""A world with a known answer: an item has a key, seen faintly in its embedding, and louder attributes that
mislead similarity. A pointer that names an item of the query's key earns 2, any other 0."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from icd_assets.runtime.seeding import torch_rng
from icd_assets.selector.config import ProposalConfig
from icd_assets.selector.decoding import greedy
from icd_assets.selector.groups import PointerGroup
from icd_assets.selector.model import PointerSelectorV2
from icd_assets_tests.worlds.plain_proposals import proposed


class World:
    """queries: [Q, D], pools: [Q, K, D], relevant: [Q, K] bool."""

    def __init__(self, queries: int, pool: int = 32, width: int = 64, keys: int = 10, seed: int = 0) -> None:
        rng = torch_rng(seed, "world")
        faint = functional.normalize(torch.randn(keys, width, generator=rng), dim=-1)
        loud = functional.normalize(torch.randn(12, width, generator=rng), dim=-1)

        def items(*shape: int) -> tuple[Tensor, Tensor]:
            key = torch.randint(keys, shape, generator=rng)
            distraction = torch.randint(12, shape, generator=rng)
            noise = torch.randn(*shape, width, generator=rng) / width**0.5
            mixed = 0.8 * faint[key] + 1.2 * loud[distraction] + 0.4 * noise
            return key, functional.normalize(mixed, dim=-1)

        key, self.queries = items(queries)
        pool_key, self.pools = items(queries, pool)
        self.table = self.pools.flatten(0, 1)
        self.relevant = pool_key == key.unsqueeze(1)

    def reward(self, query: int, pointers: Tensor) -> Tensor:
        """pointers: [N, S] → [N]"""
        return 2.0 * self.relevant[query][pointers].any(-1)

    def beams(self, rows: range) -> list[PointerGroup]:
        """What InfoScore would find: pointers whose first pick is relevant."""
        groups = []
        for row in rows:
            good = self.relevant[row].nonzero().squeeze(-1)
            bad = (~self.relevant[row]).nonzero().squeeze(-1)
            if len(good) < 3:
                continue
            pointers = torch.stack((good[:3], bad[:3]), dim=1)
            groups.append(self.group(row, pointers))
        return groups

    def proposals(self, policy: PointerSelectorV2, rows: range) -> list[PointerGroup]:
        """RL data: what the policy and the baselines propose, with its reward."""
        index = torch.tensor(rows)
        found = proposed(policy, list(rows), self.queries[index], self.pools[index], ProposalConfig(shots=2))
        return [self.group(row, torch.tensor([p.pointer for p in found[row]])) for row in rows]

    def group(self, row: int, pointers: Tensor) -> PointerGroup:
        rows = torch.arange(self.pools.size(1)) + row * self.pools.size(1)
        return PointerGroup(row, self.queries[row], self.table, rows, pointers, self.reward(row, pointers))

    def accuracy(self, policy: PointerSelectorV2, rows: range) -> float:
        """Mean reward / 2 of the greedy pointer."""
        index = torch.tensor(rows)
        pointers = greedy(policy, self.queries[index], self.pools[index], 2)
        rewards = torch.stack([self.reward(r, p[None])[0] for r, p in zip(rows, pointers, strict=True)])
        return rewards.mean().item() / 2
