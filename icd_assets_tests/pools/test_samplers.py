"""The four samplers keep their promises: exact size, no query, no leak, no history."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest

from icd_assets.datasets.vqa import read_split
from icd_assets.errors import UserError
from icd_assets.experiment.catalog import Catalog
from icd_assets.pools import SAMPLERS, PoolConfig, config
from icd_assets.pools.samplers import build_pools, draw_anchors
from icd_assets.pools.similarity import SamplerFeatures
from icd_assets_tests.worlds.vqa_files import IMAGES, annotation, item, write_files

N = 200
LIBRARY = [item(row, image_id=row // 4) for row in range(N)]  # four questions per image
QUERIES = [LIBRARY[row] for row in (7, 0, 150, 199)]
CONFIG = PoolConfig(pool_size=16)


def features(n: int, seed: int) -> SamplerFeatures:
    rng = np.random.default_rng(seed)
    arrays = rng.normal(size=(2, n, 8)).astype(np.float32)
    arrays /= np.linalg.norm(arrays, axis=-1, keepdims=True)
    return SamplerFeatures(text=arrays[0], image=arrays[1])


FEATURES = features(N, 0)


def rows_of(found: SamplerFeatures, rows: list[int]) -> SamplerFeatures:
    return SamplerFeatures(text=found.text[rows], image=found.image[rows])


def pools_of(sampler, queries=QUERIES, config=CONFIG, library_features=FEATURES):
    return build_pools(
        sampler,
        queries,
        LIBRARY,
        config,
        same_split=True,
        query_features=rows_of(library_features, [query.row for query in queries]),
        library_features=library_features,
    )


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_pools_are_full_unique_and_do_not_leak(sampler):
    pools = pools_of(sampler)
    assert list(pools) == [7, 0, 150, 199]
    for row, pool in pools.items():
        assert len(pool) == len(set(pool)) == 16
        assert all(0 <= other < N and LIBRARY[other].image_id != LIBRARY[row].image_id for other in pool)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_pool_does_not_depend_on_other_queries(sampler):
    assert pools_of(sampler, QUERIES[2:3]) == {150: pools_of(sampler)[150]}
    assert pools_of(sampler, QUERIES[::-1]) == pools_of(sampler)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_same_image_can_be_allowed_but_never_the_query(sampler):
    small = [item(row, image_id=0) for row in range(17)]
    config = PoolConfig(pool_size=16, allow_same_image=True)
    found = features(17, 1)
    pools = build_pools(
        sampler, small, small, config, same_split=True, query_features=found, library_features=found
    )
    assert all(set(pool) == set(range(17)) - {row} for row, pool in pools.items())


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_validation_rows_are_other_rows_but_images_may_be_shared(sampler):
    queries = [item(3, image_id=0), item(5, image_id=99_999)]
    found = features(2, 2)
    config = PoolConfig(pool_size=N - 4)
    pools = build_pools(
        sampler, queries, LIBRARY, config, same_split=False, query_features=found, library_features=FEATURES
    )
    assert set(pools[3]) == set(range(4, N))  # all but the image's own
    wide = build_pools(
        sampler,
        queries[1:],
        LIBRARY,
        PoolConfig(pool_size=N),
        same_split=False,
        query_features=rows_of(found, [1]),
        library_features=FEATURES,
    )
    assert set(wide[5]) == set(range(N))  # row 5 of validation is not row 5 of train


def test_too_few_candidates_is_the_users_to_mend():
    with pytest.raises(UserError, match=r"question_id 70: 196 of 200 rows remain .* the pool size is 197"):
        pools_of("RandSampler", config=PoolConfig(pool_size=197))


def test_similarity_pools_are_the_best_in_order():
    pools = pools_of("TextSimSampler")
    cosine = FEATURES.text.astype(np.float64) @ FEATURES.text[150].astype(np.float64)
    allowed = [row for row in range(N) if row // 4 != 150 // 4]
    assert list(pools[150]) == sorted(allowed, key=lambda row: -cosine[row])[:16]
    assert pools_of("ImgSimSampler")[150] != pools[150]


def test_ties_go_to_the_earlier_row():
    same = np.zeros((N, 8), dtype=np.float32)
    same[:, 0] = 1
    pools = pools_of("ImgSimSampler", library_features=SamplerFeatures(text=same, image=same))
    assert pools[7] == (0, 1, 2, 3, *range(8, 20))


def test_mix_is_random_then_image_then_text_and_duplicates_give_way():
    rng = np.random.default_rng(5)
    one = rng.normal(size=(N, 8)).astype(np.float32)
    one /= np.linalg.norm(one, axis=1, keepdims=True)
    both = SamplerFeatures(text=one, image=one)  # image and text rank alike: every text hit is taken already
    pool = pools_of("MixSampler", library_features=both)[150]
    ranked = build_pools(
        "TextSimSampler",
        [LIBRARY[150]],
        LIBRARY,
        PoolConfig(pool_size=32),
        same_split=True,
        query_features=rows_of(both, [150]),
        library_features=both,
    )[150]
    drawn = pool[:8]
    fresh = [row for row in ranked if row not in drawn]
    assert pool[8:] == tuple(fresh[:8])
    assert set(drawn) <= set(range(N))


def test_mix_counts_follow_upstream():
    ranked_only = PoolConfig(pool_size=16, mix_rand=0, mix_text=0, mix_image=1)
    assert pools_of("MixSampler", config=ranked_only) == pools_of("ImgSimSampler")
    rand_only = PoolConfig(pool_size=16, mix_rand=1, mix_text=0, mix_image=0)
    assert pools_of("MixSampler", config=rand_only) == pools_of("RandSampler")
    with pytest.raises(UserError, match=r"is 1\.25; the three shares must sum to 1"):
        pools_of("MixSampler", config=PoolConfig(mix_rand=0.75))


def test_random_pools_are_uniform_over_the_allowed_rows():
    counts = np.zeros(N, int)
    for seed in range(400):
        for row in pools_of("RandSampler", QUERIES[:1], PoolConfig(pool_size=16, seed=seed))[7]:
            counts[row] += 1
    assert counts[4:8].sum() == 0
    others = np.delete(counts, range(4, 8))  # expectation 400·16/196 = 32.7, deviation 5.5
    assert others.min() > 10 and others.max() < 58


def test_seed_changes_random_pools():
    assert pools_of("RandSampler", config=PoolConfig(pool_size=16, seed=1)) != pools_of("RandSampler")


def test_unknown_sampler_and_missing_features():
    with pytest.raises(UserError, match=r"unknown sampler 'BestSampler'; valid: .*RandSampler"):
        build_pools("BestSampler", QUERIES, LIBRARY, CONFIG, same_split=True)
    with pytest.raises(ValueError, match="needs features"):
        build_pools("TextSimSampler", QUERIES, LIBRARY, CONFIG, same_split=True)
    with pytest.raises(ValueError, match="differ in number"):
        build_pools(
            "TextSimSampler",
            QUERIES,
            LIBRARY,
            CONFIG,
            same_split=True,
            query_features=FEATURES,
            library_features=FEATURES,
        )
    with pytest.raises(ValueError, match="whole split"):
        build_pools("RandSampler", QUERIES, LIBRARY[1:], CONFIG, same_split=True)
    assert [name for name, sampler in SAMPLERS.items() if not sampler.needs_features] == ["RandSampler"]


def test_the_table_is_whole():
    """Names and aliases are unique, as users type both; counts fill a pool of any size."""
    names = [name for sampler in config._SAMPLERS for name in (sampler.name, sampler.alias)]
    assert len(set(names)) == len(names)
    for sampler in SAMPLERS.values():
        assert re.fullmatch("[A-Za-z]+", sampler.name)  # a hyphen or a slash ends it in file names and keys
        assert sampler.description.endswith(".") and "\n" not in sampler.description
        for size in (1, 2, 7, 64):
            assert sum(count for _, count in sampler.shares(PoolConfig(pool_size=size))) == size


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=lambda sampler: sampler.name)
def test_the_command_line_knows_every_sampler(sampler):
    for typed in (sampler.name, sampler.alias):
        assert Catalog.load().cell("demo", typed, "tiny_vl").sampler == sampler.name


def test_anchors_are_upstreams():
    random.seed(42)
    assert draw_anchors(9009, 800, 42) == random.sample(range(9009), 800)
    assert draw_anchors(9009, 800, 42)[:3] == [1824, 409, 4506]
    assert sorted(draw_anchors(640, 800, 42)) == list(range(640))  # there are no more
    with pytest.raises(UserError, match="sample_num is 0"):
        draw_anchors(640, 0, 42)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("same_image", [False, True])
def test_a_split_offers_what_the_same_items_do(tmp_path, sampler, same_image):
    """A split's columns are read instead of its items."""
    rng = random.Random(4)
    ids = [rng.randrange(40) for _ in range(N)]
    files = write_files(
        tmp_path,
        [(10 * row, ids[row], f"question {row}?") for row in range(N)],
        [annotation(10 * row, ids[row], ["x"]) for row in range(N)],
    )
    split = read_split("okvqa", "train", *files, IMAGES)
    config = PoolConfig(pool_size=16, allow_same_image=same_image)

    def pools(library):
        queries = [split[row] for row in (7, 0, 150)]
        return build_pools(
            sampler,
            queries,
            library,
            config,
            same_split=True,
            query_features=FEATURES.of([query.row for query in queries]),
            library_features=FEATURES,
        )

    assert pools(split) == pools(list(split))
    for query, pool in pools(split).items():
        others = {row for row in range(N) if row != query and (same_image or ids[row] != ids[query])}
        assert set(pool) <= others
        # exactly these may be chosen, so a pool of their number is they
        config = PoolConfig(pool_size=len(others), allow_same_image=same_image)
        every = build_pools("RandSampler", [split[query]], split, config, same_split=True)
        assert set(every[query]) == others
