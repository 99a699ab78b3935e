"""v2 whose state is moved by a gated recurrent unit (Cho et al., arXiv 1406.1078).

Legend: `B` queries, `N` pointers, `K` pool, `H` hidden.
v2's next state lies between the state and the pick, so that a pick attracts its like. Here it may turn away.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from icd_assets.selector.architectures.interface import at
from icd_assets.selector.architectures.v2 import PointerSelectorV2
from icd_assets.selector.config import SelectorConfig


class GruSelector(PointerSelectorV2):
    """Encodes and scores as v2 does; state' = normalize(state + W·GRU(pick, state))."""

    def __init__(self, config: SelectorConfig) -> None:
        super().__init__(config)
        del self.query_update_gate
        self.cell = nn.GRUCell(config.hidden_dim, config.hidden_dim)
        self.out = nn.Linear(config.hidden_dim, config.hidden_dim)

    def step(self, state: Tensor, candidates: Tensor, picked: Tensor) -> Tensor:
        """The state [B, N, H] after picking positions ``picked`` [B, N]."""
        pick = at(candidates, picked)  # [B, N, H]
        moved = self.cell(pick.flatten(0, 1), state.flatten(0, 1)).view(pick.shape)
        return functional.normalize(state + self.out(moved), dim=-1)
