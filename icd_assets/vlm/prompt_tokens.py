"""About how many tokens a prompt has, from a model's configuration files alone: neither weights nor tokenizer.

Of a picture: what the vision tower's merged patches come to at 640 × 480, within the processor's limits; of a
question with its answer: a token for four characters, and twenty for the turns around them. Good to a third.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from icd_assets.runtime.small_file import read_small_json

_PICTURE = 640 * 480  # pixels of a usual photograph
_TURNS, _CHARACTERS = 20, 4
_LARGEST = 1 << 40  # of any number in a configuration
_TILES = 576  # of a tower that says nothing: 24 × 24 patches


def tokens_per_demonstration(folder: Path, text: int) -> int:
    """Tokens of one picture with ``text`` characters of question and answer, for the model in ``folder``."""
    return picture_tokens(folder) + _TURNS + -(-text // _CHARACTERS)


def picture_tokens(folder: Path) -> int:
    """Tokens of one picture."""
    config, processor = _object(folder / "config.json"), _object(folder / "preprocessor_config.json")
    vision = config.get("vision_config")
    vision = vision if isinstance(vision, dict) else {}
    if (fixed := _number(config, "image_seq_length")) is not None:
        return fixed
    patch = _number(processor, "patch_size") or _number(vision, "patch_size")
    merge = _number(processor, "merge_size") or _number(vision, "spatial_merge_size")
    if patch is not None and merge is not None:  # pictures keep their shape: as many patches as pixels allow
        least, most = _limits(processor)
        return max(1, min(max(_PICTURE, least), most) // (patch * merge) ** 2)
    side = _number(vision, "image_size")
    return (side // patch) ** 2 if side is not None and patch is not None else _TILES


def _limits(processor: dict[str, Any]) -> tuple[int, int]:
    """Fewest and most pixels, under either of transformers' names."""
    size = processor.get("size")
    size = size if isinstance(size, dict) else {}
    least = _number(processor, "min_pixels") or _number(size, "shortest_edge") or 0
    most = _number(processor, "max_pixels") or _number(size, "longest_edge") or _PICTURE
    return least, most


def _number(of: dict[str, Any], name: str) -> int | None:
    found = of.get(name)
    return found if type(found) is int and 0 < found <= _LARGEST else None


def _object(path: Path) -> dict[str, Any]:
    """Empty where there is none: an estimate stops nobody."""
    try:
        content = read_small_json(path)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
