"""What looks at a model's folder before transformers does; the file stands there under each name in turn."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from icd_assets.errors import UserError
from icd_assets.vlm.control_tokens import control_tokens
from icd_assets.vlm.prompt_tokens import tokens_per_demonstration
from icd_assets.vlm.weight_headers import count_numbers, require_whole

SUFFIX = ".any"
_NAMES = (
    *("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"),
    *("config.json", "tokenizer.json"),
)
_WEIGHTS = {"a": torch.ones(2, 3), "b": torch.zeros(4, dtype=torch.float16)}


def seeds() -> Iterable[bytes]:
    yield save(_WEIGHTS, metadata={"format": "pt"})
    yield json.dumps({"weight_map": {"a": "x.safetensors"}}).encode()
    yield json.dumps({"vision_config": {"patch_size": 14, "image_size": 224}, "image_seq_length": 9}).encode()
    yield json.dumps({"added_tokens": [{"content": "<s>", "special": True}], "eos_token": "</s>"}).encode()
    for zipped in (True, False):
        buffer = io.BytesIO()
        torch.save(_WEIGHTS, buffer, _use_new_zipfile_serialization=zipped)
        yield buffer.getvalue()


def read(path: Path) -> Any:
    """Taken if it is sound under one of the names."""
    content, folder = path.read_bytes(), path.parent / "model"
    folder.mkdir(exist_ok=True)
    taken, refused = [], UserError("nothing")
    names = (
        "model.safetensors",
        "model.safetensors.index.json",
        "pytorch_model.bin",
        "config.json",
        "tokenizer.json",
    )
    for name in names:
        place = folder / name
        place.write_bytes(content)
        try:
            require_whole(folder)
            taken.append((control_tokens(folder), tokens_per_demonstration(folder, 40)))
        except UserError as error:
            refused = error
        count_numbers(folder)
        place.unlink()
    # An index alone names files that are not there.
    if not taken and b"weight_map" not in content:
        raise refused
    return taken
