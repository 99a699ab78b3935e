"""The model and data of SPEC P, whose numbers were computed with upstream's classes."""

from __future__ import annotations

from typing import Any

import torch

from icd_assets.selector.config import SelectorConfig
from icd_assets.selector.model import PointerSelectorV2

QUERY = torch.tensor([[0.6, -0.2, 0.4, 0.1]])  # [1, D]
POOL = torch.tensor([[[0.1, 0.9, -0.3, 0.2], [0.8, 0.2, 0.5, -0.4], [-0.6, 0.4, 0.7, 0.3], [0.3, -0.7, 0.2, 0.9]]])
POINTERS = torch.tensor([[[2, 0], [1, 3], [0, 1], [3, 2]]])  # [1, N, S]
REWARDS = torch.tensor([[2.0, 1.6, 0.0, 0.0]])
ALL = torch.ones(1, 4, dtype=torch.bool)
LOG_PROBS = torch.tensor([[-34.623669, -19.326672, -35.384373, -1.255601]])


def policy() -> PointerSelectorV2:
    model = PointerSelectorV2(SelectorConfig(embedding_dim=4, hidden_dim=3))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            i = torch.arange(parameter.numel())
            parameter.copy_(((((7 * i + 3) % 11) - 5) / 10).view_as(parameter))
            if name == "attn_norms.0.weight":
                parameter += 1.0
    return model.eval()


def close(actual: torch.Tensor | float, expected: Any) -> bool:
    return torch.allclose(torch.as_tensor(actual).float(), torch.tensor(expected), atol=1e-4, rtol=0)
