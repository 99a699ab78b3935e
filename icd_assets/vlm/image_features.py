"""A model's image features, cached: one pass through processor and vision tower per image.

They are kept in memory, and on disk: for later steps and runs where there is a folder for them
(:mod:`icd_assets.vlm.kept_features`), else what memory has no room for. The processor prepares the next pictures
in threads while the tower has one.

transformers lets a model take what its vision tower made earlier (``mm_encoder_outputs``); every family
tested here does. Each image goes through by itself, so its features never depend on its neighbours. Where a
family cuts a lone image finer than one of several (LLaVA-OneVision), both are cached.

Legend: T image tokens, H hidden.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from icd_assets.runtime.foreign import first_line
from icd_assets.runtime.prefetch import prefetch
from icd_assets.vlm.images import pixels_digest, read_ahead, read_image
from icd_assets.vlm.kept_features import KeptFeatures
from icd_assets.vlm.lru import ByteLru
from icd_assets.vlm.refusals import PictureRefused
from icd_assets.vlm.spill import Spill, Spilled

_PLACE_TOKENS = 1 << 25  # a pointer each
_ON_DISK = 32 << 30  # bytes: Qwen2.5-VL-3B's of 20,000 pictures of 640 × 480 in bfloat16

Grid = tuple[int, int, int]  # patches in time, height, width
Key = tuple[Path, bool]  # an image, and whether it is encoded as one of several


def why_not(model: Any) -> str | None:
    """Why the model does not take what its vision tower made of an image earlier; None if it does.

    The class is asked, not the object: whoever wraps ``forward``, as quantizers do, hides what it takes.
    """
    if "mm_encoder_outputs" in inspect.signature(type(model).forward).parameters:
        return None
    return "it takes images, not their features"


@dataclass(frozen=True, slots=True)
class Place:
    """What stands for one image in a prompt."""

    ids: tuple[int, ...]  # image tokens, and the family's marks around and between them
    grid: Grid | None  # of models whose positions follow it


@dataclass(frozen=True, slots=True)
class _Encoded:
    """What the processor and the vision tower make of one image."""

    place: Place
    features: Tensor  # [T, H], one row per image token; [tiles, T, H] of a model that takes tiles
    deep: tuple[Tensor, ...]  # [T, H] each: what goes into later layers (Qwen3-VL)

    @property
    def nbytes(self) -> int:
        return self.features.nbytes + sum(tensor.nbytes for tensor in self.deep)


class ImageFeatures:
    """The features of images under one model, at most ``limit`` bytes of them in memory; they join ``kept``, those
    of earlier steps and runs."""

    def __init__(self, processor: Any, model: Any, limit: int, kept: KeptFeatures | None = None) -> None:
        self._processor = processor
        self._model = model
        self._encode = model.base_model.get_image_features
        self._parameters = inspect.signature(self._encode).parameters
        self._cache: ByteLru[Key, _Encoded] = ByteLru(limit, lambda encoded: encoded.nbytes, self._put_aside)
        self._kept = kept
        self._known: set[Key] = set()  # that are among the kept ones
        self._spill = Spill(_ON_DISK)
        self._aside: dict[Key, tuple[Spilled, ...]] = {}
        # Apart: a prompt's length must not cost a second pass over an image whose features had to go.
        self._places: ByteLru[Key, Place] = ByteLru(_PLACE_TOKENS, lambda place: len(place.ids))

    @property
    def have_grids(self) -> bool:
        return "image_grid_thw" in self._parameters

    def keys(self, images: tuple[Path, ...]) -> list[Key]:
        """A prompt's images as they are encoded in it: only a tower that asks how many there are encodes a
        lone one in another way."""
        several = "batch_num_images" in self._parameters and len(images) > 1
        return [(path, several) for path in images]

    def place(self, key: Key) -> Place:
        return self._places.find(key) or self._encoded(key).place

    def together(self, keys: Sequence[Key]) -> dict[str, Any]:
        """``mm_encoder_outputs`` of these images, in this order."""
        encoded = [self._encoded(key) for key in keys]
        features: Any = [one.features for one in encoded]
        if features[0].ndim == 3:
            features = torch.cat(features)
        output = BaseModelOutputWithPooling(pooler_output=features)
        if encoded[0].deep:
            output.deepstack_features = [list(layer) for layer in zip(*(one.deep for one in encoded), strict=True)]
        return {"image": output}

    def prepare(self, keys: Iterable[Key]) -> None:
        """Encode those images that never were, the next ones in threads at the processor meanwhile."""
        missing = [key for key in dict.fromkeys(keys) if self._places.find(key) is None]
        if len(missing) < 2:
            return  # nothing to do meanwhile
        for key, ahead in prefetch(lambda key: (key, self._earlier(key) or self._ahead(key)), missing):
            self._cache.get(key, lambda: self._of(key, ahead))  # noqa: B023 - called here

    def _encoded(self, key: Key) -> _Encoded:
        return self._cache.get(key, lambda: self._from_disk(key) or self._of(key, self._earlier(key)))

    def _of(self, key: Key, ahead: _Encoded | Mapping[str, Any] | None) -> _Encoded:
        if isinstance(ahead, _Encoded):
            return ahead
        encoded = self._encode_image(key, ahead)
        self._keep(key, encoded)
        return encoded

    def _keep(self, key: Key, encoded: _Encoded) -> None:
        if self._kept is None:
            return
        tensors = {"ids": torch.tensor(encoded.place.ids), "features": encoded.features}
        if encoded.place.grid is not None:
            tensors["grid"] = torch.tensor(encoded.place.grid)
        tensors |= {f"deep.{number}": layer for number, layer in enumerate(encoded.deep)}
        if (name := _name(key)) is not None and self._kept.put(name, tensors):
            self._known.add(key)

    def _earlier(self, key: Key) -> _Encoded | None:
        """What an earlier step or run made of the same picture."""
        if self._kept is None or (name := _name(key)) is None or (found := self._kept.get(name)) is None:
            return None
        layers = sorted((name for name in found if name.startswith("deep.")), key=lambda name: int(name[5:]))
        grid = tuple(found["grid"].tolist()) if "grid" in found else None
        place = self._places.get(key, lambda: Place(tuple(found["ids"].tolist()), grid))
        self._known.add(key)
        device = self._model.device
        return _Encoded(place, found["features"].to(device), tuple(found[name].to(device) for name in layers))

    def _put_aside(self, key: Key, encoded: _Encoded) -> None:
        if key not in self._aside and key not in self._known:
            places = [self._spill.write(tensor) for tensor in (encoded.features, *encoded.deep)]
            if None not in places:
                self._aside[key] = tuple(place for place in places if place)

    def _from_disk(self, key: Key) -> _Encoded | None:
        if key not in self._aside or (place := self._places.find(key)) is None:
            return None
        read = [self._spill.read(spilled) for spilled in self._aside[key]]
        features, *deep = [None if tensor is None else tensor.to(self._model.device) for tensor in read]
        if features is None or None in deep:
            return None
        return _Encoded(place, features, tuple(tensor for tensor in deep if tensor is not None))

    def _ahead(self, key: Key) -> Mapping[str, Any] | None:
        """:meth:`_prepared`, but None for an image that is too large to wait for its turn."""
        image = read_ahead(key[0])
        return None if image is None else self._prepared(key, image)

    def _prepared(self, key: Key, image: Image.Image) -> Mapping[str, Any]:
        """What the processor makes of one image by itself; as one of several, beside itself."""
        path, several = key
        count = 2 if several else 1
        try:
            inputs: Mapping[str, Any] = self._processor(
                text=[self._processor.image_token * count],
                images=[[image] * count],
                add_special_tokens=False,
                return_tensors="pt",
            )
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - each family refuses in its own way
            raise PictureRefused(path, first_line(error)) from None
        return inputs

    @torch.inference_mode()
    def _encode_image(self, key: Key, prepared: Mapping[str, Any] | None) -> _Encoded:
        inputs = prepared or self._prepared(key, read_image(key[0]))
        device, dtype = self._model.device, self._model.dtype
        given = {
            name: value.to(device, dtype if value.is_floating_point() else None)
            for name, value in inputs.items()
            if name in self._parameters
        }
        output = self._encode(**given, return_dict=True)
        ids, features = inputs["input_ids"][0].tolist(), output.pooler_output
        grid = tuple(given["image_grid_thw"][0].tolist()) if self.have_grids else None
        found = Place(tuple(ids[: len(ids) // (2 if key[1] else 1)]), grid)
        place = self._places.get(key, lambda: found)
        return _Encoded(
            place=place,
            features=features if isinstance(features, Tensor) else features[0],
            deep=tuple(layer[0] for layer in output.get("deepstack_features") or ()),
        )


def _name(key: Key) -> str | None:
    """Of the file of an image's features; None for what cannot be read, which is refused where it is opened."""
    path, several = key
    try:
        return pixels_digest(path) + ("-several" if several else "")
    except OSError:
        return None
