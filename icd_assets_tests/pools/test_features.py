"""Features are mapped, not copied; a file that is not what was written counts as absent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from icd_assets.pools.features import (
    features_base,
    read_features,
    read_or_make,
    seal,
    write_features,
)
from icd_assets.pools.similarity import SamplerFeatures, top_similar
from icd_assets.store.digests import DigestCache
from icd_assets_tests.worlds.vqa_files import item


def unit(seed: int, rows: int = 50) -> np.ndarray:
    array = np.random.default_rng(seed).normal(size=(rows, 16)).astype(np.float32)
    return array / np.linalg.norm(array, axis=1, keepdims=True)


def digests(base: Path) -> DigestCache:
    return DigestCache(base.parent.parent / "digests.json")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "kept" / "vqav2-train-0123"
    write_features(path, SamplerFeatures(text=unit(1), image=unit(2)), digests(path))
    return path


def test_round_trip_is_mapped_and_ranks_alike(base):
    found = read_features(base, 50, digests(base))
    assert read_features(base, 49, digests(base)) is None
    assert found is not None and isinstance(found.text.base, np.memmap) and not found.image.flags.owndata
    assert np.array_equal(found.text, unit(1)) and np.array_equal(found.image, unit(2))
    excluded = [[row] for row in range(5)]
    assert top_similar(unit(3, 5), found.text, excluded, 8) == top_similar(unit(3, 5), unit(1), excluded, 8)
    assert sorted(path.name for path in base.parent.iterdir()) == [
        "vqav2-train-0123-image.npy",
        "vqav2-train-0123-text.npy",
        "vqav2-train-0123.json",
    ]


@pytest.mark.parametrize("byte", [1, 60, 128 + 3])  # of the magic, of the header's dict; a number's sign
def test_a_flipped_bit_counts_as_absent(base, byte):
    path = base.with_name(f"{base.name}-text.npy")
    content = bytearray(path.read_bytes())
    content[byte] ^= 0x80
    path.write_bytes(content)
    assert read_features(base, 50, digests(base)) is None


@pytest.mark.parametrize("sums", [None, b"", b"[]", b"{}", b"null"])
def test_without_its_checksums_it_counts_as_absent(base, sums):
    path = base.with_name(f"{base.name}.json")
    path.unlink() if sums is None else path.write_bytes(sums)
    assert read_features(base, 50, digests(base)) is None


@pytest.mark.parametrize(
    "how", ["absent", "truncated", "foreign", "pickled", "half", "not normalized", "NaN", "rows"]
)
def test_anything_else_counts_as_absent(base, how):
    path = base.with_name(f"{base.name}-image.npy")
    other = {
        "pickled": np.array([{"a": 1}], dtype=object),
        "half": unit(2).astype(np.float16),
        "not normalized": unit(2) * 2,
        "NaN": unit(2) * np.nan,
        "rows": unit(2, 49),
    }
    if how == "absent":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    elif how == "foreign":
        path.write_bytes(b"PK\x03\x04" + b"\0" * 100)
    else:
        np.save(path, other[how], allow_pickle=True)
    if how != "absent":
        seal(base, digests(base))  # as it was written, not damaged since
    assert read_features(base, 50, digests(base)) is None


def test_they_are_made_once(tmp_path):
    base, made = tmp_path / "kept" / "x", []

    def make() -> SamplerFeatures:
        made.append(SamplerFeatures(text=unit(1), image=unit(2)))
        return made[-1]

    for _ in range(2):
        found = read_or_make(base, 50, digests(base), make)
        assert np.array_equal(found.text, unit(1)) and isinstance(found.image.base, np.memmap)
    assert len(made) == 1
    base.with_name("x.json").unlink()
    read_or_make(base, 50, digests(base), make)
    assert len(made) == 2


class Split(list):
    """Of a split, what names its features."""

    dataset, split, digest = "vqav2", "train", "0123456789abcdef0123"


def test_a_name_says_which_rows_and_which_texts(tmp_path):
    split = Split(item(row) for row in range(6))
    names = {
        "vqav2-train-0123456789abcdef": features_base(tmp_path, split, split),
        "vqav2-train-captions-0123456789abcdef": features_base(tmp_path, split, split, text="captions"),
        "vqav2-train-first4-0123456789abcdef": features_base(tmp_path, split, split[:4]),
    }
    assert all(path == tmp_path / name for name, path in names.items())
    some = [features_base(tmp_path, split, [split[row] for row in rows]) for rows in ([1, 3], [3, 1], [1, 4])]
    assert len({*some, *names.values()}) == 6
    assert all(path.name.startswith("vqav2-train-rows") for path in some)
