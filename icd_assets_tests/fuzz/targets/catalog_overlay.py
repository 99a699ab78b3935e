"""An overlay of the catalog: YAML, its variables, its names and patterns."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from icd_assets.experiment.catalog import MODELS, Catalog

SUFFIX = ".yaml"


def seeds() -> Iterable[bytes]:
    yield MODELS.read_bytes()
    yield b"models: {mine: {aliases: [m], path: '${HOME:-x}/m', prompt: {layout: turns}}}\n"
    yield (
        b"models:\n  s:\n    aliases: []\n    endpoint: {url: 'http://h:1/v1', model: m, server: vllm}\n"
        b"    generation: {num_beams: 1}\n"
    )
    yield (
        b"datasets:\n  d: &d\n    alias_prefixes: [d]\n    sample_num: 3\n    encoder: tiny_clip\n"
        b"    sampler_encoder: tiny_clip\n    leave_out: ['a b']\n    settings: {beam_data: {expand: 8}}\n"
        b"    train: {questions: q, annotations: a, images: 'i/{image_id:012d}.jpg'}\n"
        b"    validation: {joined: j, images: 'x/{image_id}'}\n"
        b"  e: {<<: *d, sample_num: 1.5e+3}\n"
    )
    yield b"tasks: {caption: {prompt: {question: 'D:{question}'}}}\nautomation: {new_inputs: {force: [x]}}\n"


def read(path: Path) -> object:
    return Catalog.load(path)
