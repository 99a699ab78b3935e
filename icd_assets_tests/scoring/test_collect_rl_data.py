"""Rounds, prefixes and roles of RL data, with a selector of random weights and a backend that copies."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from icd_assets.pools.rl_queries import Role
from icd_assets.scoring.collect_rl_data import collect_rl_data
from icd_assets.scoring.groups import groups_of_rl_data
from icd_assets.scoring.rewards import RewardConfig
from icd_assets.scoring.rl_data import RlData, RlQuery
from icd_assets.scoring.rl_file import read_rl_data, write_rl_data
from icd_assets.scoring.rl_signal import facts
from icd_assets.scoring.training_rows import training_rows
from icd_assets.selector.config import ProposalConfig, SelectorConfig
from icd_assets.selector.decoding import greedy
from icd_assets.selector.groups import split_by_query
from icd_assets.selector.model import PointerSelectorV2, new_policy
from icd_assets.tasks.caption.metric import Cider
from icd_assets.tasks.vqa.metric import VqaAccuracy
from icd_assets.vlm.backend import HandOver
from icd_assets.vlm.cached_backend import AnswerStore, CachedBackend
from icd_assets.vlm.prompts import Prompt
from icd_assets_tests.worlds.copying_backend import CopyingBackend
from icd_assets_tests.worlds.plain_proposals import proposed
from icd_assets_tests.worlds.vqa_files import item

LIBRARY = [item(row, answer=("cat", "dog", "bird")[row % 3]) for row in range(40)]
POOLS = {row: tuple(range(20, 40)) for row in (4, 0, 2)}
EMBEDDINGS = torch.randn(40, 8, generator=torch.Generator().manual_seed(1))
ROLES: dict[int, Role] = {0: "train", 2: "validation", 4: "train"}


def selector(seed: int = 3) -> PointerSelectorV2:
    return new_policy(SelectorConfig(embedding_dim=8, hidden_dim=4), seed)


def collect(backend=None, config: ProposalConfig | None = None, **settings) -> list[RlQuery]:  # type: ignore[no-untyped-def]
    backend = backend or CopyingBackend()
    library, metric = settings.pop("library", LIBRARY), settings.pop("metric", VqaAccuracy())
    config = config or ProposalConfig()
    return collect_rl_data(selector(), POOLS, library, EMBEDDINGS, backend, metric, config, **settings)


class Retraining:
    """Stands for a training: its policy depends on how many answers it was given. Keeps what it was given."""

    def __init__(self) -> None:
        self.given: list[list[RlQuery]] = []

    def __call__(self, answered: list[RlQuery]) -> PointerSelectorV2:
        self.given.append(answered)
        return selector(sum(len(query.pointers) for query in answered))


def test_a_round_adds_what_the_newest_policy_proposes_and_keeps_all_answers() -> None:
    retrain, backend = Retraining(), CopyingBackend()
    one = collect()
    found = collect(backend, rounds=3, retrain=retrain)
    assert [query.row for query in found] == [0, 2, 4]
    assert retrain.given[0] == one
    for index, query in enumerate(found):
        sets = [frozenset(answered.pointer) for answered in query.pointers]
        assert len(set(sets)) == len(sets)
        for refresh, given in enumerate([*retrain.given, found]):
            kept = [answered for answered in query.pointers if answered.round <= refresh]
            assert kept == list(given[index].pointers)
        assert {answered.round for answered in query.pointers} == {0, 1, 2}
        newest = selector(sum(len(given.pointers) for given in retrain.given[1]))
        best = greedy(newest, EMBEDDINGS[[query.row]], EMBEDDINGS[list(POOLS[query.row])][None], 2)[0].tolist()
        assert frozenset(best) in sets
    assert len(backend.asked) == sum(len(query.pointers) for query in found)


def test_a_policy_that_proposes_the_same_costs_no_answer() -> None:
    config = ProposalConfig(samples_per_temp=0, num_random=0)
    backend = CopyingBackend()
    found = collect(backend, config, rounds=2, retrain=lambda _: selector(), prefix_rewards=True)
    assert found == collect(config=config, prefix_rewards=True)
    assert len(backend.asked) == sum(len(query.pointers) + len(query.prefixes) for query in found)


def test_captions_with_nothing_new_to_ask() -> None:
    config = ProposalConfig(samples_per_temp=0, num_random=0)
    metric = Cider([["a cat"], ["a dog"], ["two birds"]])
    found = collect(config=config, metric=metric, rounds=2, retrain=lambda _: selector())
    assert all(answered.cider is not None for query in found for answered in query.pointers)


def test_random_pointers_of_a_later_round_are_others() -> None:
    config = ProposalConfig(num_beams=0, samples_per_temp=0, num_retrieval=0, num_random=3)
    found = collect(config=config, rounds=2, retrain=lambda _: selector())
    assert all(len(query.pointers) > 3 for query in found)


def test_rounds_need_something_that_trains() -> None:
    with pytest.raises(ValueError, match="2 rounds"):
        collect(rounds=2)
    with pytest.raises(ValueError, match="0 rounds"):
        collect(rounds=0)


def test_chunks_change_nothing() -> None:
    whole = collect(rounds=2, retrain=Retraining(), prefix_rewards=True, roles=ROLES)
    assert collect(rounds=2, retrain=Retraining(), prefix_rewards=True, roles=ROLES, chunk=1) == whole
    for query in whole:  # nor is a prefix asked about in two rounds
        prefixes = [answered.pointer for answered in query.prefixes]
        assert len(set(prefixes)) == len(prefixes)
        assert {answered.round for answered in query.prefixes} <= {0, 1}


class Dying(CopyingBackend):
    """Dies when it is asked for more than ``limit`` prompts."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def answer(self, prompts: Sequence[Prompt], hand_over: HandOver[str]) -> None:
        if len(self.asked) + len(prompts) > self.limit:
            raise KeyboardInterrupt
        super().answer(prompts, hand_over)


def test_a_killed_second_round_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    library = [replace(item, image=tmp_path / f"{item.row}.jpg") for item in LIBRARY]
    for image in (row.image for row in library):
        image.write_bytes(image.name.encode())

    def run(backend: CopyingBackend, store: AnswerStore) -> tuple[bytes, int]:
        cached = CachedBackend(backend, store, chunk=4)
        settings = {"rounds": 2, "retrain": Retraining(), "prefix_rewards": True, "roles": ROLES, "chunk": 1}
        write_rl_data(tmp_path / "rl.json", RlData(tuple(collect(cached, library=library, **settings))))
        return (tmp_path / "rl.json").read_bytes(), cached.asked

    with AnswerStore(tmp_path / "whole.sqlite") as store:
        whole, asked = run(CopyingBackend(), store)
    with AnswerStore(tmp_path / "killed.sqlite") as store:
        with pytest.raises(KeyboardInterrupt):
            run(Dying(asked - 9), store)
        kept = len(store)
        assert 0 < kept < asked
        assert run(CopyingBackend(), store) == (whole, asked - kept)


@pytest.mark.parametrize("shots", [1, 2, 3])
def test_each_distinct_prefix_of_a_query_is_answered_once(shots: int) -> None:
    config, backend = ProposalConfig(shots=shots), CopyingBackend()
    plain, found = collect(config=config), collect(backend, config, prefix_rewards=True)
    for query, without in zip(found, plain, strict=True):
        assert query.pointers == without.pointers
        expected = {one.pointer[:length] for one in query.pointers for length in range(1, shots)}
        prefixes = [answered.pointer for answered in query.prefixes]
        assert (len(prefixes), set(prefixes)) == (len(expected), expected)
        assert [len(prefix) for prefix in prefixes] == sorted(len(prefix) for prefix in prefixes)
        for answered in query.prefixes:
            shown = query.rows_of(answered)
            assert answered.vqa_pred_answer == LIBRARY[shown[-1]].answer
            first = next(one for one in query.pointers if one.pointer[: len(shown)] == answered.pointer)
            assert (answered.source, answered.beam_rank) == (first.source, None)
    assert len(backend.asked) == sum(len(query.pointers) + len(query.prefixes) for query in found)


def test_prefixes_and_roles_are_written_and_read_and_trained_on_by_length(tmp_path: Path) -> None:
    made = RlData(tuple(collect(config=ProposalConfig(shots=3), prefix_rewards=True, roles=ROLES)))
    write_rl_data(tmp_path / "rl.json", made)
    data = read_rl_data(tmp_path / "rl.json", n_rows=40)
    assert data.queries == made.queries
    assert data.held_out == {2}
    rows = training_rows(data, RewardConfig(), prefixes=True)
    assert [(row.query_row, len(row.pointers[0])) for row in rows] == [
        (q, s) for q in (0, 2, 4) for s in (1, 2, 3)
    ]
    assert {row.query_row: row.held_out for row in rows} == {0: False, 2: True, 4: False}
    assert [row for row in rows if len(row.pointers[0]) == 3] == training_rows(data, RewardConfig())
    groups = groups_of_rl_data(data, RewardConfig(), EMBEDDINGS, prefixes=True)
    assert [group.pointers.shape for group in groups] == [
        (len(row.pointers), len(row.pointers[0])) for row in rows
    ]
    train, validation = split_by_query(groups_of_rl_data(data, RewardConfig(), EMBEDDINGS), 0.8)
    assert [[group.query_row for group in part] for part in (train, validation)] == [[0, 4], [2]]


def test_facts_count_what_there_is(tmp_path: Path) -> None:
    config = RewardConfig()
    plain = facts(RlData(tuple(collect())), config, "accuracy")
    settings = {"rounds": 2, "retrain": Retraining(), "prefix_rewards": True, "roles": ROLES}
    found = RlData(tuple(collect(**settings)))
    more = facts(found, config, "accuracy")
    assert more.keys() - plain.keys() == {"rows_train", "rows_validation", "prefixes", "candidates_round_2"}
    assert (more["rows_train"], more["rows_validation"]) == (2, 1)
    assert more["candidates_round_2"] == more["candidates"] - plain["candidates"]
    assert more["prefixes"] == sum(len(query.prefixes) for query in found.queries)


def test_data_of_one_round_have_no_key_more_than_before(tmp_path: Path) -> None:
    write_rl_data(tmp_path / "rl.json", RlData(tuple(collect())))
    content = json.loads((tmp_path / "rl.json").read_text())
    assert content["0"].keys() == {"query", "candidate_pool_ids", "pointer_candidates"}
    assert "role" not in content["0"]["query"]
    assert read_rl_data(tmp_path / "rl.json", n_rows=40).held_out is None


def test_sixteen_shots_from_proposals_to_groups(tmp_path: Path) -> None:
    config, backend = ProposalConfig(shots=16), CopyingBackend()
    found = proposed(selector(), [0], EMBEDDINGS[[0]], EMBEDDINGS[list(POOLS[0])][None], config)[0]
    assert {proposal.source for proposal in found} == {"beam", "retrieval", "sample", "random"}
    made = collect(backend, config, prefix_rewards=True)
    write_rl_data(tmp_path / "rl.json", RlData(tuple(made)))
    data = read_rl_data(tmp_path / "rl.json", n_rows=40)
    assert data.queries == tuple(made)
    assert max(len(prompt.shots) for prompt in backend.asked) == 16
    groups = groups_of_rl_data(data, RewardConfig(), EMBEDDINGS, prefixes=True)
    assert [group.pointers.size(1) for group in groups] == [*range(1, 17)] * 3
