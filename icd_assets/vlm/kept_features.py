"""Image features on disk, from step to step and from run to run.

Of Qwen2.5-VL-3B a picture of 640 × 480 has 1.6 MB of them: read in a millisecond, where the processor takes 18 on
a core and the vision tower 2 TFLOP. A file that is damaged, or is another's, is as if it were not there.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from icd_assets.runtime.plain_file import open_plain
from icd_assets.runtime.threads import SMALL_MODEL
from icd_assets.store import names
from icd_assets.store.atomic import clear, replacing
from icd_assets.store.digests import sha256_json

_FORMAT = 1
_MOST = 32 << 30  # bytes of all models: 20,000 pictures of 640 × 480
_SHARE = 8  # one byte in so many of the disk's free space may be theirs: results go there too
_MEASURED_EVERY = 100  # pictures; of many, a twentieth of them: each is looked at
_LARGEST = 1 << 28  # bytes of one picture's
_CHECK = 16  # bytes of a digest before the rest


class KeptFeatures:
    """Named tensors of pictures, each under a text that says which picture in which way; in ``folder`` those of
    every model, in a folder of each.

    ``made_by``: everything that decides a picture's features, but the picture. Threads and processes may share it.
    """

    def __init__(self, folder: Path, made_by: Sequence[Any]) -> None:
        self._all = folder
        self._own = folder / sha256_json(list(made_by))[:16]
        self._lock = threading.Lock()
        self._room = 0  # bytes
        self._measured_in = 0  # pictures
        self._closed = False

    def get(self, name: str) -> dict[str, Tensor] | None:
        """On the CPU; None if there is nothing, or nothing whole."""
        try:
            with open_plain(self._own / name, _LARGEST) as file:
                content = file.read(_LARGEST)
        except OSError:
            return None
        if _digest(content[_CHECK:]) != content[:_CHECK]:
            return None
        try:
            found: dict[str, Tensor] = load(content[_CHECK:])
        except SafetensorError:
            return None
        return found

    def put(self, name: str, tensors: dict[str, Tensor]) -> bool:
        """Whether there was room for it."""
        content = save({key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()})
        if not self._takes(_CHECK + len(content)):
            return False
        try:
            with replacing(self._own / name, one_of_hundreds=True) as file:
                file.write(_digest(content))
                file.write(content)
        except OSError:  # a full disk, or one that may not be written
            self._closed = True
            return False
        return True

    def _takes(self, size: int) -> bool:
        with self._lock:
            if self._closed or size > _LARGEST:
                return False
            try:
                if self._measured_in == 0:
                    self._room, own = self._measured()
                    self._measured_in = max(_MEASURED_EVERY, own // 20)
            except OSError:
                self._closed = True
                return False
            self._measured_in -= 1
            self._room -= size
            return self._room >= 0

    def _measured(self) -> tuple[int, int]:
        """Bytes that may still be written here, by whatever process, and how many pictures there are. Where the
        features of other models would leave little, the oldest of them go."""
        if not self._own.is_dir():
            self._own.mkdir(parents=True)
        os.utime(self._own)
        for left in names.temporaries(self._own):  # by a killed writer
            if names.is_abandoned(left, time.time() - _modified(left)):
                clear(left)
        others = sorted((path for path in self._all.iterdir() if path != self._own), key=_modified)
        own, taken = _sizes(self._own), {path: sum(_sizes(path)) for path in others}
        while others and sum(own) + sum(taken.values()) > _MOST // 2:
            clear(others[0])
            del taken[others.pop(0)]
        total = sum(own) + sum(taken.values())
        return min(_MOST, (total + shutil.disk_usage(self._own).free) // _SHARE) - total, len(own)


def of_model(folder: Path, model: Any, digest: str) -> KeptFeatures:
    """Those of ``model``, whose files, dtype and pixel limits ``digest`` names, as this machine computes them."""
    device = model.device.type
    if device == "cuda":
        kernels: list[Any] = [torch.cuda.get_device_name(model.device)]
    else:  # a small model is computed on one thread
        numbers = sum(weights.numel() for weights in model.parameters())
        kernels = [
            torch.backends.cpu.get_cpu_capability(),
            torch.get_num_threads() if numbers >= SMALL_MODEL else 1,
        ]
    return KeptFeatures(folder, [_FORMAT, digest, version("transformers"), torch.__version__, device, *kernels])


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_CHECK).digest()


def _modified(path: Path) -> float:
    return path.lstat().st_mtime


def _sizes(folder: Path) -> list[int]:
    """Of its files."""
    found = []
    with suppress(NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # another process replaces it
                found.append(entry.stat(follow_symlinks=False).st_size)
    return found
