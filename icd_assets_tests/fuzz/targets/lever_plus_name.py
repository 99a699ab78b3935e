"""The path of a file in a results folder of Lever-Plus, relative to the dataset's."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePath

from icd_assets.errors import UserError
from icd_assets.lever_plus.names import Name, read_name

SUFFIX = ".txt"


def seeds() -> Iterable[bytes]:
    yield b"cache/okvqa-RandSampler-anchor_sample_num: 24:64.json"
    yield b"generated_data/rl_data_RandSampler_Qwen2_5-VL-3B-Instruct.json"
    yield b"model_cpk/v3_RandSampler_Qwen2_5-VL-3B-Instruct_x/rce_epoch5.pt"
    yield (
        b"generated_data/sub_proc_data/vqa-okvqa-M-RandSampler-scorer:infoscore-construct_order:left-beam_size:5-"
        b"max_shot:2-candidate_num:64-sample_num:5000_rank: 0_(0, 100).json"
    )


def read(path: Path) -> Name:
    """A name of bytes that are no UTF-8 comes as the file system gives it."""
    text = path.read_bytes()[:4000].replace(b"\0", b"").decode("utf-8", "surrogateescape")
    inside = PurePath(text)
    found = read_name(inside, "okvqa") if inside.parts else ""
    if isinstance(found, str):
        raise UserError(found)
    return found
