"""A whole evaluation of objects in memory: no folder, no manifest, no weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from icd_assets.datasets.vqa import VqaItem
from icd_assets.errors import UserError
from icd_assets.evaluation.config import EvaluationConfig
from icd_assets.evaluation.evaluate_selectors import Evaluation, evaluate_selectors
from icd_assets.pools.config import PoolConfig
from icd_assets.pools.rows import candidate_rows
from icd_assets.pools.samplers import build_pools
from icd_assets.pools.similarity import Features
from icd_assets.selector.config import SelectorConfig
from icd_assets.selector.encoder import combine
from icd_assets.selector.model import new_policy
from icd_assets.tasks.vqa.metric import VqaAccuracy
from icd_assets_tests.worlds.copying_backend import CopyingBackend
from icd_assets_tests.worlds.vqa_files import item

ANSWERS = ["cat", "dog", "bird", "cow", "fish"]
LIBRARY = [item(row, answer=ANSWERS[row % 5]) for row in range(40)]
QUERIES = [item(row, image_id=500 + row, answer=ANSWERS[row % 5]) for row in (9, 2, 6, 3, 0)]
POOLS = build_pools("RandSampler", QUERIES, LIBRARY, PoolConfig(pool_size=8), same_split=False)
POLICIES = {name: new_policy(SelectorConfig(embedding_dim=8, hidden_dim=8), i) for i, name in enumerate("ab")}
CONFIG = EvaluationConfig(shot_counts=[1, 2], oracle_beams=1, oracle_expand=4)


def encode(items: Sequence[VqaItem]) -> tuple[Features, Features]:
    def drawn(item: VqaItem, kind: int) -> Features:
        vector = np.random.default_rng([kind, item.image_id]).normal(size=8).astype(np.float32)
        return vector / np.linalg.norm(vector)

    text, image = (np.stack([drawn(item, kind) for item in items]) for kind in (0, 1))
    return text, image


def evaluated(pools=POOLS, queries=QUERIES, policies=POLICIES, config=CONFIG, **more) -> Evaluation:
    return evaluate_selectors(
        policies, queries, pools, LIBRARY, encode, CopyingBackend(), VqaAccuracy(), config, **more
    )


def test_every_strategy_is_evaluated_on_every_query():
    found = evaluated()
    assert [(outcome.strategy, outcome.shots) for outcome in found.outcomes] == [
        ("zero-shot", 0),
        ("random", 1),
        ("image+text similarity", 1),
        ("a", 1),
        ("b", 1),
        ("random", 2),
        ("image similarity", 2),
        ("text similarity", 2),
        ("image+text similarity", 2),
        ("MMR", 2),
        ("DPP", 2),
        ("BM25", 2),
        ("vote-k", 2),
        ("random, same type", 2),
        ("a", 2),
        ("b", 2),
        ("b, shuffled labels", 2),
        ("a, whole library", 2),
        ("b, whole library", 2),
        ("best in pool (oracle)", 2),
    ]
    for outcome in found.outcomes:
        assert [prediction.question_id for prediction in outcome.predictions] == [90, 20, 60, 30, 0]
        for prediction in outcome.predictions:
            if outcome.strategy != "vote-k" and "whole library" not in outcome.strategy:
                assert {*prediction.pointer_rows} <= {*POOLS[prediction.question_id // 10]}
    assert (found.comparison.metric, found.comparison.num_queries) == ("accuracy", 5)
    references = dict.fromkeys(row.reference for row in found.comparison.differences)
    assert list(references) == ["random", "image+text similarity", "a"]


def test_the_oracle_knows_the_answer():
    """Wherever a pool holds the query's answer, a model that copies gives it."""
    offered = [any(LIBRARY[row].answer == query.answer for row in POOLS[query.row]) for query in QUERIES]
    assert any(offered)
    assert evaluated().outcomes[-1].scores == [float(there) for there in offered]


def test_sixteen_shots_are_more_than_the_oracle_expands():
    pools = {query.row: tuple(row for row in range(33) if row != query.row) for query in QUERIES}
    config = EvaluationConfig(shot_counts=[1], compare_shots=16, oracle_beams=1)
    assert config.oracle_expand < 16
    found = evaluated(pools=pools, config=config)
    assert (found.outcomes[-1].strategy, found.outcomes[-1].shots) == ("best in pool (oracle)", 16)
    assert {len(p.pointer_rows) for outcome in found.outcomes[-3:] for p in outcome.predictions} == {16}


def test_the_oracle_on_the_first_queries_is_compared_on_these():
    whole, part = evaluated(), evaluated(config=CONFIG.model_copy(update={"oracle_queries": 3}))
    assert part.outcomes[:-1] == whole.outcomes[:-1]
    assert part.outcomes[-1].predictions == whole.outcomes[-1].predictions[:3]
    row = part.comparison.row("best in pool (oracle)")
    assert row.num_queries == 3
    assert row.score.value == pytest.approx(np.mean(whole.outcomes[-1].scores[:3]))
    gains = {(d.strategy, d.reference): d.difference.value for d in part.comparison.family}
    own, random = (np.array(whole.outcomes[at].scores[:3]) for at in (-1, 5))
    assert whole.outcomes[5].strategy == "random"
    assert gains[row.strategy, "random"] == pytest.approx((own - random).mean(), abs=1e-6)


def test_prices_and_kinds_are_in_the_comparison():
    queries = [replace(query, question_type="color" if query.row % 2 else "shape") for query in QUERIES]
    found = evaluated(queries=queries, prices={"b": 1200}).comparison
    assert {row.strategy: row.prompts for row in found.strategies}["b"] == 1200
    assert {row.prompts for row in found.strategies if row.strategy != "b"} == {None}
    assert {(row.kind, row.num_queries) for row in found.kinds} == {("shape", 3), ("color", 2)}
    assert {row.strategy for row in found.kinds} == {row.strategy for row in found.main}


def test_the_order_of_pools_decides_nothing():
    others = {30: POOLS[9]}  # of a query that is not asked
    assert evaluated(pools=dict(reversed(POOLS.items())) | others) == evaluated()


def test_without_policies_baselines_are_compared():
    found = evaluated(
        policies={}, similarities=("image",), config=CONFIG.model_copy(update={"baselines": ["dpp"]})
    )
    names = dict.fromkeys(outcome.strategy for outcome in found.outcomes)
    assert list(names) == ["zero-shot", "random", "image similarity", "DPP", "best in pool (oracle)"]


def test_baselines_stand_in_the_tables_order_once():
    config = CONFIG.model_copy(update={"baselines": ["same_type", "mmr", "same_type"], "shot_counts": [1, 2, 3]})
    found = [(outcome.strategy, outcome.shots) for outcome in evaluated(policies={}, config=config).outcomes]
    assert [one for one in found if one[0] in ("MMR", "random, same type")] == [
        ("MMR", 2),
        ("random, same type", 2),
    ]


def test_the_whole_library_is_within_reach_if_it_is_asked_for():
    names = {outcome.strategy for outcome in evaluated().outcomes}
    without = evaluated(config=CONFIG.model_copy(update={"library_candidates": 0}))
    assert names - {outcome.strategy for outcome in without.outcomes} == {"a, whole library", "b, whole library"}


def test_embeddings_that_are_there_are_taken():
    """They are what the library's items would be encoded to, and nothing else is encoded."""
    text, image = map(torch.from_numpy, encode(LIBRARY))
    seen = []

    def noting(items):
        seen.append(len(items))
        return encode(items)

    given = evaluate_selectors(
        POLICIES,
        QUERIES,
        POOLS,
        LIBRARY,
        noting,
        CopyingBackend(),
        VqaAccuracy(),
        CONFIG,
        embeddings=combine(text, image),
    )
    assert given == evaluated()
    assert seen == [len(QUERIES), len(candidate_rows(POOLS))]


def test_what_a_data_set_lacks_is_left_out():
    captions = [replace(query, question="", question_type="") for query in QUERIES]
    names = {outcome.strategy for outcome in evaluated(queries=captions, policies={}).outcomes}
    assert {"MMR", "DPP", "vote-k"} <= names and not {"BM25", "random, same type"} & names


def test_what_is_missing_is_named():
    with pytest.raises(UserError, match="no validation queries"):
        evaluated(queries=[])
    with pytest.raises(ValueError, match="query 6 has no pool"):
        evaluated(pools={row: pool for row, pool in POOLS.items() if row != 6})
