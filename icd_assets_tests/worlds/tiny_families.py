"""One random model per family of chat models that reads images, each in the form that the hub has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from icd_assets_tests.worlds.tiny import tiny_qwen2_vl, tiny_vl
from icd_assets_tests.worlds.tiny_idefics3 import tiny_idefics3, tiny_smolvlm
from icd_assets_tests.worlds.tiny_internvl import tiny_internvl
from icd_assets_tests.worlds.tiny_llava import tiny_llava_onevision
from icd_assets_tests.worlds.tiny_qwen3 import tiny_qwen3_vl

FAMILIES: dict[str, Callable[[], Path]] = {
    "qwen2_vl": tiny_qwen2_vl,
    "qwen2_5_vl": tiny_vl,
    "qwen3_vl": tiny_qwen3_vl,
    "idefics3": tiny_idefics3,
    "smolvlm": tiny_smolvlm,
    "llava_onevision": tiny_llava_onevision,
    "internvl": tiny_internvl,
}
