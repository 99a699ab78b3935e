"""A world in which picks complement each other: an answer has two halves, one shown by any demonstration of the
query's kind and shape, the other by any of its kind and color. One that shows both is rare.

Embeddings show every attribute, turned by a random rotation. The likelihood of an answer is known, so that labels
of any prefix cost nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from icd_assets.runtime.seeding import torch_rng
from icd_assets.selector.decoding import greedy
from icd_assets.selector.groups import DenseGroup
from icd_assets.selector.labels import TrainingLabels
from icd_assets.selector.model import PointerSelector

KINDS, SHAPES, COLORS = 2, 4, 4
SHOWN, GUESSED = 0.95, 0.1  # likelihood of a half that was shown, and of one that was not


@dataclass(frozen=True)
class TwoHalves:
    """attributes: [n, 3] kind, shape, color; embeddings: [n, D]; pools: [n, K] rows, never the row itself."""

    attributes: Tensor
    embeddings: Tensor
    pools: Tensor

    @classmethod
    def draw(cls, rows: int, pool: int = 24, width: int = 16, seed: int = 0) -> TwoHalves:
        rng = torch_rng(seed, "two halves")
        sizes = (KINDS, SHAPES, COLORS)
        attributes = torch.stack([torch.randint(size, (rows,), generator=rng) for size in sizes], dim=1)
        shown = [functional.one_hot(attributes[:, i], size) for i, size in enumerate(sizes)]
        plain = functional.pad(torch.cat(shown, dim=1).float(), (0, width - sum(sizes)))
        turned = plain @ torch.linalg.qr(torch.randn(width, width, generator=rng))[0]
        noisy = functional.normalize(turned, dim=-1) + 0.1 * torch.randn(rows, width, generator=rng) / width**0.5
        others = [torch.randperm(rows - 1, generator=rng)[:pool] for _ in range(rows)]
        pools = torch.stack([other + (other >= row) for row, other in enumerate(others)])
        return cls(attributes, functional.normalize(noisy, dim=-1), pools)

    def halves(self, row: int, shown: Tensor) -> Tensor:
        """Which halves [..., 2] the demonstrations ``shown`` [..., S] (positions in the row's pool) show."""
        same = self.attributes[self.pools[row][shown]] == self.attributes[row]  # [..., S, 3]
        return (same[..., :1] & same[..., 1:]).any(-2)

    def likelihood(self, row: int, shown: Tensor) -> Tensor:
        """[..., S] → [...], the geometric mean over both halves."""
        return torch.where(self.halves(row, shown), SHOWN, GUESSED).prod(-1).sqrt()

    def labels(self, row: int, prefixes: Sequence[tuple[int, ...]]) -> DenseGroup:
        size = self.pools.size(1)
        steps = []
        for prefix in prefixes:
            shown = torch.tensor([[*prefix, k] for k in range(size)])
            values = self.likelihood(row, shown).tolist()
            steps.append((prefix, [None if k in prefix else v for k, v in enumerate(values)]))
        return DenseGroup.of(row, self.pools[row].tolist(), steps)

    def training(self, rows: range, policy: PointerSelector | None = None) -> TrainingLabels:
        """Labels of singles, and after the first pick of ``policy``."""
        groups = []
        for row in rows:
            pool = self.embeddings[self.pools[row]]
            first = [] if policy is None else [(int(greedy(policy, self.embeddings[row][None], pool[None], 1)),)]
            groups.append(self.labels(row, [(), *first]))
        return TrainingLabels(self.embeddings, groups)

    def accuracy(self, policy: PointerSelector, rows: range) -> float:
        """Share of rows both of whose halves two greedy picks show."""
        index = torch.tensor(rows)
        found = greedy(policy, self.embeddings[index], self.embeddings[self.pools[index]], 2)
        return sum(bool(self.halves(row, p).all()) for row, p in zip(rows, found, strict=True)) / len(rows)

    def ceiling(self, rows: range) -> float:
        """Share of rows whose pool shows both halves."""
        everything = torch.arange(self.pools.size(1))
        return sum(bool(self.halves(row, everything).all()) for row in rows) / len(rows)
