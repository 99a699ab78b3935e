"""The search of a sample and RL data's losses, in worlds where sequences matter and where they do not."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest

from icd_assets.datasets.vqa import VqaItem
from icd_assets.evaluation.headroom import of_sampled, of_stored, recipe, sentences
from icd_assets.scoring.headroom import Sampled, Stored, measure, prompts_of_a_query, stored_losses
from icd_assets.scoring.rl_data import AnsweredPointer, RlData, RlQuery
from icd_assets.tasks import TASKS
from icd_assets.vlm.backend import ApartBackend, Generation, HandOver, Likelihood
from icd_assets.vlm.prompts import Prompt, PromptStyle
from icd_assets_tests.worlds.vqa_files import item

POOL = 8
QUERIES = [item(row, answer="red dog") for row in range(40)]
LIBRARY = [
    *QUERIES,
    *(item(40 + k, answer=("red cat", "blue dog", "blue cat", "red fox")[k % 4]) for k in range(POOL)),
]
POOLS = {query.row: tuple(range(40, 40 + POOL)) for query in QUERIES}
Rule = Callable[[Sequence[str]], int]


def words_known(shots: Sequence[str]) -> int:
    """Of the two words of the answer, how many some demonstration shows: a pair that complements knows both."""
    return sum(any(word in answer for answer in shots) for word in ("red", "dog"))


def any_red(shots: Sequence[str]) -> int:
    """One right demonstration is all that is needed."""
    return 2 * any("red" in answer for answer in shots)


def nothing(shots: Sequence[str]) -> int:
    return 0


class RuleBackend(ApartBackend):
    """Right if the rule knows both words; the more it knows, the likelier the answer."""

    def __init__(self, rule: Rule) -> None:
        super().__init__(digest="rule", style=PromptStyle(), generation=Generation())
        self.rule, self.prompts = rule, 0

    def answer(self, prompts: Sequence[Prompt], hand_over: HandOver[str]) -> None:
        self.prompts += len(prompts)
        hand_over({at: "red dog" if self._known(prompt) == 2 else "a bird" for at, prompt in enumerate(prompts)})

    def score(self, prompts: Sequence[Prompt], answers: Sequence[str], hand_over: HandOver[Likelihood]) -> None:
        self.prompts += len(prompts)
        hand_over(
            {at: Likelihood(math.log(0.1 + 0.4 * self._known(prompt)), 1) for at, prompt in enumerate(prompts)}
        )

    def _known(self, prompt: Prompt) -> int:
        return self.rule([shot.answer for shot in prompt.shots])


def asked(rule: Rule, choice: tuple[int, int], queries: Sequence[VqaItem] = QUERIES) -> tuple[list[str], str, int]:
    backend = RuleBackend(rule)
    choices = {query.row: choice for query in queries}
    found = measure(queries, POOLS, LIBRARY, backend, TASKS["vqa"].metric(queries), choices)
    summary = of_sampled(found, 1.0)
    return sentences(summary), recipe(summary), backend.prompts


def test_where_the_second_choice_matters() -> None:
    # Alone all four know one word, so that the two best singles are the first two: both show "red".
    pools = dict.fromkeys(POOLS, (45, 44, 43, 40))
    backend = RuleBackend(words_known)
    choices = dict.fromkeys(POOLS, (40, 44))
    sample = measure(QUERIES, pools, LIBRARY, backend, TASKS["vqa"].metric(QUERIES), choices)
    assert backend.prompts == len(QUERIES) * prompts_of_a_query(4)
    found = of_sampled(sample, 1.0)
    assert (found.policy, found.best_pair, found.over_singles.value) == (0, 1, 1)
    said = sentences(found)
    assert said[0].startswith(
        "there is something to win: a search that knows the answer gains +100.0 points (95 %: +"
    )
    assert said[1].startswith("sequences matter: the best pair gains +100.0 points")
    assert said[2] == "recipe: sequences"


def test_where_one_right_demonstration_is_all() -> None:
    said, fitting, prompts = asked(any_red, (41, 42))
    assert prompts == len(QUERIES) * prompts_of_a_query(POOL)
    assert said[0].startswith("there is something to win")
    assert fitting.startswith("singles")


def test_where_no_demonstration_helps() -> None:
    said, fitting, _ = asked(nothing, (41, 42))
    # Not one of 40 queries gained, which still leaves room for two points.
    assert said[0].startswith("40 queries cannot tell whether there is something to win: +0.0 points (95 %: -")
    assert fitting == "undecided; give a larger --budget"


def sampled(wins: int, of: int, *, singles: bool, policy: float = 0.0) -> list[Sampled]:
    """``wins`` queries whose best pair is right; with ``singles`` the two best singles are, too."""
    return [Sampled(row, None, policy, float(singles and row < wins), float(row < wins)) for row in range(of)]


@pytest.mark.parametrize(
    ("sample", "won", "sequences", "fitting"),
    [
        (sampled(60, 100, singles=False), "there is something to win", "sequences matter", "sequences"),
        (sampled(1000, 2000, singles=True), "there is something", "sequences do not matter", "singles"),
        (
            sampled(25, 40, singles=True),
            "there is something",
            "whether sequences matter cannot be told",
            "singles; a larger --budget would tell whether sequences add to it",
        ),
        (
            sampled(0, 2000, singles=True),
            "there is little to win",
            "sequences do not",
            "none; no recipe wins two points here",
        ),
        (sampled(2, 30, singles=True), "30 queries cannot tell", "whether", "undecided; give a larger --budget"),
    ],
)
def test_every_sentence(sample: list[Sampled], won: str, sequences: str, fitting: str) -> None:
    found = of_sampled(sample, 1.0)
    said = sentences(found)
    assert said[0].startswith(won) and said[1].startswith(sequences)
    assert said[2] == f"recipe: {fitting}" and recipe(found) == fitting


@pytest.mark.parametrize("pool", [2, 64])
def test_the_price_is_known_beforehand(pool: int) -> None:
    assert prompts_of_a_query(pool) == 2 * pool + 3


def pointer(source: str, score: float | None, rank: int | None = None, failed: bool = False) -> AnsweredPointer:
    return AnsweredPointer(pointer=(0, 1), source=source, beam_rank=rank, vqa_acc_score=score, eval_failed=failed)


def test_losses_of_stored_pointers_by_what_sft_has_seen() -> None:
    def query(row: int, *pointers: AnsweredPointer) -> RlQuery:
        return RlQuery(row=row, image_id=row, candidate_pool_ids=(7, 8), pointers=pointers)

    data = RlData(
        queries=(
            query(0, pointer("beam", 1.0, 0), pointer("random", 0.3)),
            query(1, pointer("random", 0.9), pointer("beam", 0.3, 0), pointer("beam", 0.6, 1)),
            query(2, pointer("random", 1.0)),  # no beam: says nothing about the policy
            query(
                3, pointer("beam", 1.0, 0, failed=True), pointer("random", 1.0)
            ),  # its first beam was not judged
            query(4, pointer("beam", 0.0, 0), pointer("sample", 1.0, failed=True)),
        )
    )
    losses = stored_losses(data)
    assert [(one.row, pytest.approx(one.lost)) for one in losses] == [(0, 0), (1, 0.6), (4, 0)]
    found = of_stored(losses, {0}, 1.0)
    assert found["seen"].rows == 1 and found["seen"].beaten.value == 0
    assert found["not_seen"].rows == 2 and found["not_seen"].beaten.value == 0.5
    lost = found["not_seen"].lost
    assert lost.value == pytest.approx(0.3) and lost.low < 0.3 < lost.high
    assert set(of_stored([Stored(1, None, 0.0)], (), 1.0)) == {"not_seen"}
