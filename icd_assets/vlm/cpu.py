"""How the CPU is used: number of threads, memory that is kept rather than given back, rows that a product needs.

The only place that sets torch's threads. Call once per process, before the first model runs.
``OMP_WAIT_POLICY=PASSIVE`` must be in the environment before torch is imported: on a busy machine two
spinning threads are slower than one (benchmarks/vlm_throughput.py).
"""

from __future__ import annotations

import ctypes
import logging
import platform
from contextlib import nullcontext
from functools import cache
from itertools import pairwise

import torch
from torch import nn

from icd_assets.runtime.threads import one_thread as on_one_thread
from icd_assets.runtime.user_number import number_from

_log = logging.getLogger(__name__)

_MOST_THREADS = 1024
_ROWS = (*range(1, 17), 20, 24, 28, 32, 48, 64)  # that are tried; more make no difference to any BLAS we met,
_WIDEST = 1 << 14  # nor do more columns: a vocabulary is not tried whole
# glibc's malloc.h
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


def tune_cpu() -> int:
    """Set the threads to ``$ICD_THREADS`` (default: torch's own choice) and return their number.

    glibc hands large blocks back to the kernel at every free; each step of a model then pays for fresh,
    zeroed pages. Keeping them makes small models 1.2 to 1.4 times as fast at the price of a heap that
    does not shrink.
    """
    if threads := number_from("ICD_THREADS", "threads", _MOST_THREADS):
        torch.set_num_threads(threads)
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_M_TRIM_THRESHOLD, 1 << 30)
    return torch.get_num_threads()


def least_rows(model: nn.Module, *, one_thread: bool) -> int:
    """From how many rows on a row's bits do not depend on how many others a product of ``model`` has.

    BLAS has other kernels for few rows, and from which number on it takes those for many depends on the processor
    and on the weights' shape: it is tried with each shape that the model has, on as many threads as it will run
    on. Logs a warning where even 48 rows are too few.
    """
    with on_one_thread() if one_thread else nullcontext(), torch.inference_mode():
        threads = torch.get_num_threads()
        shapes = {
            (*_tried(module), module.bias is not None, module.weight.dtype, threads)
            for module in model.modules()
            if isinstance(module, nn.Linear)
        }
        found = max((_least_of(*shape) for shape in shapes), default=1)
    if found == _ROWS[-1]:
        _log.warning("on this processor the last digits of a prompt's likelihoods depend on its batch")
    return found


def _tried(linear: nn.Linear) -> tuple[int, int]:
    return min(linear.out_features, _WIDEST), linear.in_features


@cache
def _least_of(width: int, depth: int, bias: bool, dtype: torch.dtype, threads: int) -> int:
    rng = torch.Generator().manual_seed(0)
    weights = torch.randn(width, depth, generator=rng).to(dtype)
    added = torch.randn(width, generator=rng).to(dtype) if bias else None
    values = torch.randn(_ROWS[-1], depth, generator=rng).to(dtype)
    many = nn.functional.linear(values, weights, added)
    least = 1
    for rows, more in pairwise(_ROWS):
        if not nn.functional.linear(values[:rows].clone(), weights, added).equal(many[:rows]):
            least = more
    return least
