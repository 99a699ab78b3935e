"""How the CPU is used: number of threads, and memory that is kept rather than given back after each step.

The only place that sets torch's threads. Call once per process, before the first model runs.
``OMP_WAIT_POLICY=PASSIVE`` must be in the environment before torch is imported: on a busy machine two
spinning threads are slower than one (benchmarks/vlm_throughput.py).
"""

from __future__ import annotations

import ctypes
import platform

import torch

from icd_assets.runtime.user_number import number_from

_MOST_THREADS = 1024
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
