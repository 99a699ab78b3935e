"""The rendered scenes that a recipe trains on: thousands, or a vision tower memorizes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass

import torch
from PIL import Image
from torch import Tensor

from icd_assets.demo.world import SHAPES, Scene, render
from icd_assets.runtime.seeding import python_rng

CHUNK = 500  # pictures held as PIL images at once


@dataclass(frozen=True, slots=True)
class Bank:
    """`M` scenes with equally many of each shape."""

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
        return cls(scenes, torch.cat(chunks), torch.tensor([astuple(scene) for scene in scenes]))

    def __len__(self) -> int:
        return len(self.scenes)

    def indices_of(self, shape: int) -> range:
        return range(shape, len(self), len(SHAPES))
