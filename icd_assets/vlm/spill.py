"""Tensors that memory has no room for, in a file without a name: it goes with its process, whatever ends that."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import threading
import weakref
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

_log = logging.getLogger(__name__)

_SHARE = 2  # of the disk's free space, at most one in so many bytes is taken


@dataclass(frozen=True, slots=True)
class Spilled:
    """Where a tensor lies."""

    at: int
    shape: torch.Size
    dtype: torch.dtype


class Spill:
    """Takes up to ``limit`` bytes, and at most half of what is free where temporary files go (``TMPDIR``). Threads
    may share it; nothing is written before the first tensor comes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._file: int | None = None
        self._lock = threading.Lock()

    def write(self, tensor: Tensor) -> Spilled | None:
        """Its place; None where there is no room for it."""
        with self._lock:
            at, size = self._size, tensor.nbytes
            try:
                if self._file is None:
                    self._file = self._opened()
                if at + size > self._limit:
                    return None
                raw = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data
                while raw:  # a disk that fills up takes a part first
                    raw = raw[os.pwrite(self._file, raw, at + size - len(raw)) :]
            except OSError as error:
                _log.warning("image features are not kept on disk from here on: %s", error.strerror)
                self._limit = 0
                return None
            self._size = at + size
        return Spilled(at, tensor.shape, tensor.dtype)

    def _opened(self) -> int:
        self._limit = min(self._limit, shutil.disk_usage(tempfile.gettempdir()).free // _SHARE)
        file, name = tempfile.mkstemp(prefix="icd-assets-")
        weakref.finalize(self, os.close, file)
        Path(name).unlink()
        return file

    def read(self, spilled: Spilled) -> Tensor | None:
        """The tensor, on the CPU; None if the disk does not give it back."""
        assert self._file is not None
        size = spilled.shape.numel() * spilled.dtype.itemsize
        found = bytearray(size)
        view, done = memoryview(found), 0
        try:
            while done < size and (part := os.preadv(self._file, [view[done:]], spilled.at + done)):
                done += part
        except OSError:
            return None
        if done < size:
            return None
        return torch.frombuffer(found, dtype=spilled.dtype).view(spilled.shape)
