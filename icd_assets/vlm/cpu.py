"""How the CPU is used: number of threads, and memory that is kept rather than given back after each step.

The only place that sets torch's threads. Call once per process, before the first model runs.
``OMP_WAIT_POLICY=PASSIVE`` must be in the environment before torch is imported: on a busy machine two
spinning threads are slower than one (benchmarks/vlm_throughput.py).
"""

from __future__ import annotations

import ctypes
import os
import platform

import torch

from icd_assets.errors import UserError

# glibc's malloc.h
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


def tune_cpu() -> int:
    """Set the threads to ``$ICD_THREADS`` (default: torch's own choice) and return their number.

    glibc hands large blocks back to the kernel at every free; each step of a model then pays for fresh,
    zeroed pages. Keeping them makes small models 1.2 to 1.4 times as fast at the price of a heap that
    does not shrink.
    """
    if setting := os.environ.get("ICD_THREADS"):
        if not setting.isdecimal() or int(setting) < 1:
            raise UserError(f"ICD_THREADS is {setting!r}; set it to a number of threads, 1 or more.")
        torch.set_num_threads(int(setting))
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_M_TRIM_THRESHOLD, 1 << 30)
    return torch.get_num_threads()
