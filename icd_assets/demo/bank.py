"""The rendered scenes that a recipe trains on: thousands, or a vision tower memorizes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from functools import cached_property

import torch
from PIL import Image
from torch import Tensor

from icd_assets.demo.world import SHAPES, Scene, render
from icd_assets.runtime.seeding import python_rng

CHUNK = 500  # pictures held as PIL images at once


@dataclass(frozen=True)
class Bank:
    """`M` rendered scenes; those of ``draw`` have equally many of each shape, in turn."""

    scenes: list[Scene]
    pixels: Tensor  # [M, ...] float16, as the model's image processor gives them
    attributes: Tensor  # [M, 4] long: shape, color, background, place

    @classmethod
    def draw(cls, to_pixels: Callable[[list[Image.Image]], Tensor], size: int, seed: int, *names: str) -> Bank:
        """Scenes whose shapes take turns; ``names`` tell one bank of a seed from another."""
        rng = python_rng(seed, "bank", *names)
        scenes: list[Scene] = []
        chunks: list[Tensor] = []
        while len(scenes) < size:
            fresh = range(len(scenes), min(size, len(scenes) + CHUNK))
            drawn = [Scene.draw(rng, index % len(SHAPES)) for index in fresh]
            chunks.append(to_pixels([render(scene, rng) for scene in drawn]).half())
            scenes += drawn
        return cls.of(scenes, torch.cat(chunks))

    @classmethod
    def of(cls, scenes: list[Scene], pixels: Tensor) -> Bank:
        return cls(scenes, pixels, torch.tensor([astuple(scene) for scene in scenes]))

    def __len__(self) -> int:
        return len(self.scenes)

    def indices_of(self, shape: int, color: int | None = None) -> Sequence[int]:
        """Scenes of the shape; with a color, those of both, or of the shape alone where none has both."""
        alike = range(shape, len(self), len(SHAPES))  # shapes take turns
        return alike if color is None else self._by_look.get((shape, color), alike)

    @cached_property
    def _by_look(self) -> dict[tuple[int, int], list[int]]:
        found: dict[tuple[int, int], list[int]] = {}
        for index, scene in enumerate(self.scenes):
            found.setdefault((scene.shape, scene.color), []).append(index)
        return found
