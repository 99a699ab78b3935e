"""A trained selector of any architecture on disk: ``config.json`` and ``model.safetensors`` in its own folder.

Reading is strict: what is missing, foreign, truncated, of another shape or not finite is refused in one sentence,
and nothing in a file is executed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from icd_assets.errors import UserError
from icd_assets.runtime.finding import in_bytes
from icd_assets.runtime.foreign import brief, printable
from icd_assets.runtime.plain_file import in_words
from icd_assets.runtime.small_file import read_small, read_small_json
from icd_assets.selector.config import SelectorConfig
from icd_assets.selector.model import ARCHITECTURES, PointerSelector, new_policy, shapes_of

FORMAT = 1
CONFIG, WEIGHTS = "config.json", "model.safetensors"
HUB_ID = r"\w[\w.-]*(/\w[\w.-]*)?"
_KEYS = frozenset({"format", "selector", "stage", "encoder_digest", "lineage"})
_MAY_BE = frozenset({"encoder"})  # of folders made since it was first written
_LARGEST_CONFIG = 4 << 20  # bytes
_LARGEST_HEADER = 1 << 20
_LARGEST_SELECTOR = 384 << 20  # bytes of numbers
_WIDEST = 16_384  # of any size in a config: what is larger is no selector, and would not fit


class EncoderName(BaseModel):
    """How to find the encoder: what the catalog called it, and where the hub has it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str
    path: str | None = Field(None, pattern=rf"^{HUB_ID}$")  # None: a folder of the machine that trained
    revision: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SelectorFile:
    """What a folder holds; the policy is in eval mode on the CPU."""

    policy: PointerSelector
    stage: str
    encoder_digest: str  # of the encoder whose embeddings it reads
    encoder: EncoderName | None  # None in older folders
    lineage: Mapping[str, Any]


def write_selector(
    folder: Path,
    policy: PointerSelector,
    *,
    stage: str,
    encoder_digest: str,
    lineage: Mapping[str, Any],
    encoder: EncoderName | None = None,
) -> None:
    """Make ``folder`` with both files; equal selectors give equal bytes. Verified by reading it back."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in policy.state_dict().items()}
    content = {
        "format": FORMAT,
        "selector": policy.config.model_dump(),
        "stage": stage,
        "encoder_digest": encoder_digest,
        "lineage": dict(lineage),
    }
    if encoder is not None:
        content["encoder"] = encoder.model_dump()
    (folder / WEIGHTS).write_bytes(save(state))
    (folder / CONFIG).write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    again = read_selector(folder).policy.state_dict()
    if any(not torch.equal(again[name], tensor) for name, tensor in state.items()):
        raise RuntimeError(f"{folder}: the files do not hold the selector that was written")


def read_selector(folder: Path) -> SelectorFile:
    """The selector of a folder; raises ``UserError`` that names the file and what is wrong with it."""
    path = folder / CONFIG
    content = _content(path)
    config = _config(path, content["selector"])
    state = _state(folder / WEIGHTS, config)
    policy = new_policy(config, 0)
    policy.load_state_dict(state)
    encoder = _encoder(path, content.get("encoder"))
    return SelectorFile(policy.eval(), content["stage"], content["encoder_digest"], encoder, content["lineage"])


def _content(path: Path) -> dict[str, Any]:
    try:
        content = read_small_json(path, _LARGEST_CONFIG)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; a selector's folder holds {CONFIG} and {WEIGHTS}.") from None
    except OSError as error:
        raise UserError(f"{path}: {in_words(error)}; make the selector again.") from None
    except ValueError:
        raise UserError(f"{path} is no whole JSON file; make the selector again.") from None
    if not isinstance(content, dict) or "format" not in content:
        raise UserError(f"{path} is not the config of a selector: it has no format.")
    found = content["format"]
    if type(found) is not int or found != FORMAT:
        newer = type(found) is int and found > FORMAT
        todo = "it is of a newer version, update icd-assets" if newer else "make the selector again"
        raise UserError(f"{path} has the format {brief(found)}, and {FORMAT} is read here; {todo}.")
    if odd := sorted(map(str, _KEYS ^ (content.keys() - _MAY_BE))):
        raise UserError(f"{path}: {printable(odd[0][:80])} is {'missing' if odd[0] in _KEYS else 'unknown'}.")
    texts = isinstance(content["stage"], str) and isinstance(content["encoder_digest"], str)
    if not texts or not isinstance(content["lineage"], dict):
        raise UserError(f"{path}: stage and encoder_digest must be texts, and lineage an object.")
    return content


def _encoder(path: Path, given: Any) -> EncoderName | None:
    if given is None:
        return None
    try:
        return EncoderName.model_validate(given)
    except ValidationError as error:
        raise UserError(f"{path}: {_first_of(error, 'encoder')}.") from None


def _first_of(error: ValidationError, inside: str) -> str:
    first = error.errors()[0]
    place = ".".join([inside, *map(str, first["loc"])])
    return f"{printable(place[:120])}: {printable(first['msg'].lower()[:200])}"


def _config(path: Path, given: Any) -> SelectorConfig:
    if isinstance(given, dict) and str(name := given.get("architecture")) not in ARCHITECTURES:
        raise UserError(f"{path}: the architecture {brief(name)} is unknown; known: {', '.join(ARCHITECTURES)}.")
    try:
        if odd := sorted(SelectorConfig.model_fields.keys() - dict(given).keys()):
            raise UserError(f"{path}: selector.{odd[0]} is missing.")
        config = SelectorConfig.model_validate(given, strict=True)
    except ValidationError as error:
        raise UserError(f"{path}: {_first_of(error, 'selector')}.") from None
    except (TypeError, ValueError):
        raise UserError(f"{path}: selector must be an object.") from None
    if max(value for _, value in config if isinstance(value, int)) > _WIDEST:
        raise UserError(f"{path}: a selector as wide as it says cannot be; a size is above {_WIDEST}.")
    return config


def _state(path: Path, config: SelectorConfig) -> dict[str, Tensor]:
    try:
        shapes = shapes_of(config)
    except (UserError, ValueError, RuntimeError) as error:
        problem = printable(str(error).splitlines()[0][:200].rstrip("."))
        raise UserError(f"{path.with_name(CONFIG)}: {problem}.") from None
    numbers = 4 * sum(math.prod(shape) for shape in shapes.values())
    if numbers > _LARGEST_SELECTOR:
        raise UserError(
            f"{path.with_name(CONFIG)}: a selector as wide as it says cannot be; it takes {in_bytes(numbers)}."
        )
    try:
        # No more than its tensors come to, in the widest numbers, and a header.
        content = read_small(path, 2 * numbers + _LARGEST_HEADER)
        if int.from_bytes(content[:8], "little") > _LARGEST_HEADER:
            raise ValueError
        state: dict[str, Tensor] = load(content)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; make the selector again.") from None
    except OSError as error:
        raise UserError(f"{path}: {in_words(error)}; make the selector again.") from None
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError, OverflowError):
        raise UserError(f"{path} is no whole safetensors file; make the selector again.") from None
    if odd := sorted(shapes.keys() ^ state.keys()):
        raise UserError(
            f"{path}: tensor {printable(odd[0][:80])} is {'missing' if odd[0] in shapes else 'unknown'}."
        )
    for name, tensor in state.items():
        if tuple(tensor.shape) != shapes[name]:
            raise UserError(f"{path}: {name} has shape {list(tensor.shape)}, expected {list(shapes[name])}.")
        if tensor.dtype != torch.float32 or not torch.isfinite(tensor).all():
            raise UserError(f"{path}: {name} holds what is not a finite float32 number.")
    return state
