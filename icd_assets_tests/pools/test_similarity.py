"""The search equals brute force, whatever the block size, and refuses features that are not cosines."""

from __future__ import annotations

import numpy as np
import pytest

from icd_assets.pools import similarity
from icd_assets.pools.similarity import SamplerFeatures, top_similar


def unit(rng, *shape):
    array = rng.normal(size=shape).astype(np.float32)
    return array / np.linalg.norm(array, axis=-1, keepdims=True)


@pytest.mark.parametrize("block", [1, 700, 1 << 24])
def test_equals_brute_force(monkeypatch, block):
    monkeypatch.setattr(similarity, "_BLOCK", block)
    rng = np.random.default_rng(3)
    library = unit(rng, 300, 16)
    library[100:] = library[rng.integers(100, size=200)]  # duplicates: ties
    queries = unit(rng, 9, 16)
    excluded = [list(map(int, rng.choice(300, size=5, replace=False))) for _ in queries]
    exact = queries.astype(np.float64) @ library.astype(np.float64).T
    for found, scores, banned in zip(top_similar(queries, library, excluded, 40), exact, excluded, strict=True):
        allowed = [row for row in range(300) if row not in banned]
        wanted = sorted(allowed, key=lambda row: (-round(scores[row], 12), row))[:40]
        assert found == wanted


def test_features_must_be_finite_unit_float32():
    good = np.eye(3, dtype=np.float32)
    SamplerFeatures(text=good, image=good)
    for bad in (good.astype(np.float64), good * 2, good * np.nan, good[0]):
        with pytest.raises(ValueError, match="features"):
            SamplerFeatures(text=bad, image=good if bad.ndim == 2 else bad)
    with pytest.raises(ValueError, match="3 text features but 2 image"):
        SamplerFeatures(text=good, image=good[:2])
