"""Loading a vision-language model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForImageTextToText
from transformers.utils import logging as transformers_logging

from icd_assets.errors import UserError
from icd_assets.runtime.foreign import brief, first_line
from icd_assets.vlm.processor import read_config
from icd_assets.vlm.weight_headers import require_whole
from icd_assets.vlm.weights import Dtype


def load_model(folder: Path, dtype: Dtype, device: str) -> Any:
    """The model in eval mode; missing or misshapen weights are an error."""
    config = read_config(folder)
    require_image_text(config, folder)
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"device {device} was asked for, but torch sees no GPU; set the device to cpu.")
    model = pretrained(AutoModelForImageTextToText, folder, getattr(torch, dtype))
    return model.to(device).eval()


def require_image_text(config: Any, folder: Path) -> None:
    """Raises :class:`UserError` if transformers has no image-and-text model of this kind."""
    if type(config) not in AutoModelForImageTextToText._model_mapping:
        raise UserError(f"{folder}: {brief(config.model_type)} is no image-and-text model; take a chat VLM.")


def pretrained(model_class: Any, folder: Path, dtype: torch.dtype, **options: Any) -> Any:
    """``model_class.from_pretrained``, quiet, and strict about what the model needs.

    Tensors that the model does not need (the other tower of a CLIP checkpoint) are left alone.
    """
    require_whole(folder)
    try:
        with _quiet():
            model, report = model_class.from_pretrained(
                folder, dtype=dtype, output_loading_info=True, trust_remote_code=False, **options
            )
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise UserError(
            f"{folder}: the weights cannot be loaded ({first_line(error)}); fetch them again."
        ) from None
    if faults := sorted([*map(str, report["missing_keys"]), *map(str, report["mismatched_keys"])]):
        raise UserError(f"{folder}: the weights lack {faults[0]} ({len(faults)} faults); fetch them again.")
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' bars and its report of tensors: what matters of it, we check."""
    level, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()
