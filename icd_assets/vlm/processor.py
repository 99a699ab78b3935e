"""Loading a model's processor the same way on every machine, with or without torchvision.

transformers' own loader needs torchvision for the video half of models such as Qwen2.5-VL, and resizes
images by another algorithm when torchvision is installed. Therefore:
1. The processor's class is taken as it is, minus the attributes for video, and minus the package that
   SmolVLM's class demands to spell out a video's number of frames (num2words).
2. Images always go through the Pillow backend, so that an answer does not depend on what is installed.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from transformers import AutoConfig
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

from icd_assets.errors import UserError
from icd_assets.runtime.foreign import brief, first_line
from icd_assets.runtime.plain_file import in_words
from icd_assets.runtime.small_file import read_small_json
from icd_assets.vlm.weight_headers import require_tokenizer


def load_processor(folder: Path, *, min_pixels: int | None = None, max_pixels: int | None = None) -> Any:
    """Tokenizer, image processor and chat template of the model in ``folder`` as one transformers processor.

    ``min_pixels`` / ``max_pixels`` bound an image's area, in pixels, for the models that size images by area
    (Qwen2-VL and its successors); for others they are an error.
    """
    config = read_config(folder)
    if type(config) not in PROCESSOR_MAPPING:
        raise UserError(
            f"{folder}: model type {brief(config.model_type)} has no image-and-text processor; take a chat VLM."
        )
    require_tokenizer(folder)
    try:
        processor = _without_video(PROCESSOR_MAPPING[type(config)]).from_pretrained(
            folder, backend="pil", trust_remote_code=False
        )
    except Exception as error:  # noqa: BLE001 - a tokenizer's parser raises nothing more special
        raise UserError(
            f"{folder}: its tokenizer or image processor cannot be loaded ({first_line(error)}); "
            "download it again."
        ) from None
    if processor.chat_template is None:
        raise UserError(f"{folder} has no chat template; take an instruction-tuned VLM.")
    if min_pixels is not None or max_pixels is not None:
        _bound_area(processor.image_processor, folder, min_pixels, max_pixels)
    return processor


def picture_refusal(processor: Any, size: tuple[int, int]) -> str | None:
    """Why the model's image processor does not take a picture of ``size`` (width, height); None if it does.

    Processors that size pictures by area say so by arithmetic; others are shown a blank picture.
    """
    images, (width, height) = processor.image_processor, size
    by_area = "smart_resize" in vars(sys.modules[type(images).__module__])
    try:
        if by_area and hasattr(images, "get_number_of_image_patches"):
            images.get_number_of_image_patches(height, width, {})
        else:
            images(images=[Image.new("RGB", size)], return_tensors="pt")
    except Exception as error:  # noqa: BLE001 - each family refuses in its own way
        return first_line(error)
    return None


def read_config(folder: Path) -> Any:
    """The model's configuration."""
    path = folder / "config.json"
    try:
        if path.exists():
            read_small_json(path)
    except (OSError, ValueError) as error:
        what = in_words(error) if isinstance(error, OSError) else first_line(error)
        raise UserError(f"{path} is no whole JSON file ({what}); download it again.") from None
    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # noqa: BLE001 - whatever a foreign value makes its class raise
        raise UserError(
            f"{folder} is no transformers model ({first_line(error)}); fix the catalog's path."
        ) from None


def _without_video(processor_class: Any) -> Any:
    """``processor_class`` less what ``ProcessorMixin`` would load for video."""
    unused = {name: None for name in inspect.signature(processor_class).parameters if "video_processor" in name}

    class ImageTextProcessor(processor_class):  # type: ignore[misc]
        @classmethod
        def get_attributes(cls) -> list[str]:
            return [name for name in super().get_attributes() if "video" not in name]

        @classmethod
        def from_args_and_dict(cls, args: list[Any], processor_dict: dict[str, Any], **kwargs: Any) -> Any:
            with _without_num2words(processor_class):
                return super().from_args_and_dict(args, processor_dict, **kwargs, **unused)

    ImageTextProcessor.__name__ = processor_class.__name__
    return ImageTextProcessor


@contextmanager
def _without_num2words(processor_class: Any) -> Iterator[None]:
    module = vars(sys.modules[processor_class.__module__])
    lacking = "num2words" in module and module["num2words"] is None
    if lacking:
        module["num2words"] = str
    try:
        yield
    finally:
        if lacking:
            module["num2words"] = None


def _bound_area(image_processor: Any, folder: Path, min_pixels: int | None, max_pixels: int | None) -> None:
    if "max_pixels" not in image_processor.valid_kwargs.__annotations__:
        raise UserError(
            f"{folder}: min_pixels and max_pixels are settings of models that size images by area, as Qwen2-VL "
            f"does; {type(image_processor).__name__} does not, so leave them out."
        )
    size = dict(image_processor.size)
    # Named edges, but pixel counts: transformers' spelling of an area.
    low = min_pixels if min_pixels is not None else size["shortest_edge"]
    high = max_pixels if max_pixels is not None else size["longest_edge"]
    if low > high:
        raise UserError(f"min_pixels {low} is larger than max_pixels {high}; swap or fix them.")
    image_processor.size = {"shortest_edge": low, "longest_edge": high}
