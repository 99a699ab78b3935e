"""How many tokens a GPU has room for at once: of prompts, padding and beams counted, that one batch computes."""

from __future__ import annotations

import logging
from typing import Any

import torch

from icd_assets.vlm.batches import ROWS
from icd_assets.vlm.branching_path import BATCHES_AT_ONCE
from icd_assets.vlm.memory import KEPT_FEATURES, ModelSizes, sizes_of

_log = logging.getLogger(__name__)

_WIDTH = 4096  # tokens of a prompt whose attention mask is counted: a batch of wider ones may not fit
_LEAST_WIDTH = 256  # tokens that share the scores of a row: one picture of 450 × 450 pixels
_USABLE = 0.9  # of what is free: the allocator cannot use the rest


def tokens_at_once(model: Any, state_bytes: int) -> int | None:
    """Of a model that is on a GPU now; ``state_bytes`` of what is free there are for kept demonstrations. None on
    a CPU, and for a family that names its sizes in another way.

    A power of two, so that a few more free bytes do not change the batches, and with them the last digits.
    """
    if model.device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(model.device)
    try:
        each = token_bytes(sizes_of(model), model.dtype.itemsize)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        _log.warning(
            "%d prompts are computed at once, for how many fit is not known of a model of type %s (%s): set its "
            "batch_size in the catalog",
            ROWS,
            model.config.model_type,
            error,
        )
        return None
    room = int(_USABLE * (free - KEPT_FEATURES - state_bytes)) // each
    return 1 << room.bit_length() - 1 if room > 0 else 0


def token_bytes(sizes: ModelSizes, size: int) -> int:
    """What one token of a batch takes at the worst moment; ``size`` is that of a number in bytes.

    The KV cache: while a batch is computed what is kept of its beginning, put together and then copied, or what is
    new, copied out for each row: three times at most. What is kept of the prompts at work between their passes:
    once for each batch of them. Activations as in :mod:`icd_assets.vlm.memory`, as if every token were fed. Its
    share of the scores of its row's last token, in the dtype and in float32 thrice.
    """
    cache = (3 + BATCHES_AT_ONCE) * sizes.kv_bytes(size)
    activations = (2 * sizes.hidden + 3 * sizes.widest) * size + _WIDTH * (1 + size)
    return cache + activations + sizes.vocabulary * (size + 3 * 4) // _LEAST_WIDTH
