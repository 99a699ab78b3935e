"""What reads v3 checkpoints, trainers' checkpoints and embeddings: container, pickle and tensors at once."""

from __future__ import annotations

import io
import pathlib
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from icd_assets.errors import UserError
from icd_assets.selector.torch_file import read_array_file, read_torch_file, tensors

SUFFIX = ".ckpt"


def seeds() -> Iterable[bytes]:
    weights = torch.arange(6.0).reshape(2, 3)
    settings = {"path": pathlib.PurePosixPath("a"), "shape": torch.Size([2]), "type": torch.float16, "n": 1 << 70}
    state = OrderedDict(a=weights, b=weights.t(), c=torch.nn.Parameter(torch.ones(2)))
    with_sums = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)  # else nearly all that is tried would end at a checksum
    try:
        for content in ({"state_dict": state, "hyper_parameters": settings, "epoch": 3}, {"state_dict": {}}):
            for protocol in (2, 4):
                buffer = io.BytesIO()
                torch.save(content, buffer, pickle_protocol=protocol)
                yield buffer.getvalue()
    finally:
        torch.serialization.set_crc32_options(with_sums)


def read(path: Path) -> Any:
    refused = None
    found = {}
    for one in (lambda: read_torch_file(path), lambda: read_array_file(path)):
        try:
            one()
        except UserError as error:
            refused = error
    found = read_torch_file(path, lightning=True)
    for tensor in tensors(found, "state_dict", path).values():
        tensor.double().sum()
    return found, refused
