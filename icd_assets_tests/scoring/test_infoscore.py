"""Beam search against brute force, on a model whose probabilities are a made-up function."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from icd_assets.datasets.vqa import VqaItem
from icd_assets.errors import UserError
from icd_assets.scoring.beam_file import write_beams
from icd_assets.scoring.infoscore import BeamConfig, infoscore_beams, prompts_at_most, prompts_by_shots
from icd_assets.vlm.backend import ApartBackend, Backend, Generation, HandOver, Likelihood
from icd_assets.vlm.cached_backend import AnswerStore, CachedBackend
from icd_assets.vlm.prompts import Prompt, PromptStyle
from icd_assets.vlm.transformers_backend import TransformersBackend
from icd_assets_tests.worlds.tiny import tiny_vl, write_images


def item(row: int) -> VqaItem:
    return VqaItem(
        row=row,
        question_id=1000 + row,
        image_id=row,
        question=f"question {row}",
        answer=f"answer {row}",
        answers=(f"answer {row}",),
        question_type="what",
        answer_type="other",
        image=Path(f"{row}.jpg"),
    )


ANSWERS = ["buzz", "red dog", "a square"]
LIBRARY = [item(row) for row in range(12)]
QUERIES = [LIBRARY[3], LIBRARY[8]]
POOLS = {3: (9, 1, 4, 7, 0), 8: (2, 5, 11, 6, 10)}


class Oracle(ApartBackend):
    """P depends on the whole ordered prompt, so every order of demonstrations has its own value."""

    def __init__(self) -> None:
        super().__init__(digest="oracle", style=PromptStyle(), generation=Generation())
        self.calls: list[int] = []

    @staticmethod
    def p(icds: Sequence[int], query: int) -> float:
        text = " ".join(map(str, (*icds, query)))
        return 0.01 + 0.98 * int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 16**8

    def answer(self, prompts: Sequence[Prompt], hand_over: HandOver[str]) -> None:
        raise AssertionError("beam data needs no generation")

    def score(self, prompts: Sequence[Prompt], answers: Sequence[str], hand_over: HandOver[Likelihood]) -> None:
        self.calls.append(len(prompts))
        found = []
        for prompt, answer in zip(prompts, answers, strict=True):
            row = int(prompt.question.split()[1])
            assert answer == f"answer {row}"
            assert all(shot.answer.split()[1] == shot.image.stem for shot in prompt.shots)
            p = self.p([int(shot.image.stem) for shot in prompt.shots], row)
            found.append(Likelihood(3 * math.log(p), 3))
        hand_over(dict(enumerate(found)))


def search(config: BeamConfig, **options: object):  # type: ignore[no-untyped-def]
    return infoscore_beams(QUERIES, POOLS, LIBRARY, Oracle(), config, **options)  # type: ignore[arg-type]


def every_sequence(row: int, shots: int) -> list[tuple[float, frozenset[int], tuple[int, ...]]]:
    """(gain, set, prompt order) of all ordered choices, best first."""
    alone = Oracle.p((), row)
    orders = itertools.permutations(POOLS[row], shots)
    return sorted(((Oracle.p(o, row) - alone, frozenset(o), o) for o in orders), reverse=True)


@pytest.mark.parametrize("order", ["left", "right"])
@pytest.mark.parametrize("shots", [1, 2, 3])
def test_a_beam_as_wide_as_the_tree_finds_the_best_sequences(order: str, shots: int) -> None:
    config = BeamConfig(beam_size=200, shots=shots, construct_order=order, keep_reorderings=True)
    found = search(config)
    for query in QUERIES:
        expected = every_sequence(query.row, shots)
        beams = found[query.row].beams
        assert [beam.icds for beam in beams] == [icds for _, _, icds in expected]
        assert [beam.score for beam in beams] == pytest.approx([gain for gain, _, _ in expected])


@pytest.mark.parametrize("order", ["left", "right"])
def test_step_scores_add_up_and_follow_the_order_of_choice(order: str) -> None:
    for row, result in search(BeamConfig(shots=3, construct_order=order)).items():
        for beam in result.beams:
            assert beam.icds == (beam.chosen[::-1] if order == "left" else beam.chosen)
            assert sum(beam.step_scores) == pytest.approx(beam.score)
            first = Oracle.p(beam.chosen[:1], row) - Oracle.p((), row)
            assert beam.step_scores[0] == pytest.approx(first)
            two = beam.icds[-2:] if order == "left" else beam.icds[:2]
            assert beam.step_scores[1] == pytest.approx(Oracle.p(two, row) - Oracle.p(beam.chosen[:1], row))


def by_the_book(row: int, config: BeamConfig) -> list[tuple[int, ...]]:
    """The search as SPEC D.2 tells it, one beam at a time."""
    beams: list[tuple[int, ...]] = [()]
    candidates = sorted(POOLS[row])
    for step in range(config.shots):
        scored = []
        for beam in beams:
            for new in candidates:
                if new not in beam:
                    grown = (new, *beam)
                    base = Oracle.p((), row) if config.rank == "total" else Oracle.p(beam, row)
                    scored.append((Oracle.p(grown, row) - base, grown))
        scored.sort(reverse=True)
        if not config.keep_reorderings:
            scored = [s for i, s in enumerate(scored) if set(s[1]) not in [set(t[1]) for t in scored[:i]]]
        if step == 0 and config.expand:
            candidates = [grown[0] for _, grown in scored[: config.expand]]
        beams = [grown for _, grown in scored[: config.beam_size]]
    return beams


@pytest.mark.parametrize(
    "config",
    [
        BeamConfig(beam_size=2),
        BeamConfig(beam_size=3, shots=3),
        BeamConfig(beam_size=3, shots=3, rank="last_step", keep_reorderings=True),
        BeamConfig(beam_size=4, shots=2, expand=2),
        BeamConfig(beam_size=1, shots=4),
    ],
    ids=str,
)
def test_the_search_is_the_specs(config: BeamConfig) -> None:
    found = search(config)
    for query in QUERIES:
        assert [beam.icds for beam in found[query.row].beams] == by_the_book(query.row, config)


def test_the_two_ranks_differ() -> None:
    total, last = (search(BeamConfig(rank=rank, keep_reorderings=True)) for rank in ("total", "last_step"))
    assert total != last
    assert all(beam.score == beam.step_scores[-1] for result in last.values() for beam in result.beams)


def test_no_two_beams_hold_the_same_set() -> None:
    for result in search(BeamConfig(beam_size=6)).values():
        sets = [frozenset(beam.icds) for beam in result.beams]
        assert len(set(sets)) == len(sets)
    assert any(
        len({frozenset(beam.icds) for beam in result.beams}) < len(result.beams)
        for result in search(BeamConfig(beam_size=20, keep_reorderings=True)).values()
    )


def test_queries_share_batches_but_not_results() -> None:
    oracle = Oracle()
    together = infoscore_beams(QUERIES, POOLS, LIBRARY, oracle, BeamConfig(beam_size=2))
    assert oracle.calls == [2, 10, 16]
    apart: dict[int, object] = {}
    for query in QUERIES:
        apart |= infoscore_beams([query], POOLS, LIBRARY, Oracle(), BeamConfig(beam_size=2))
    assert together == apart


def test_expand_saves_prompts() -> None:
    oracle = Oracle()
    infoscore_beams(QUERIES[:1], POOLS, LIBRARY, oracle, BeamConfig(beam_size=2, expand=2))
    assert oracle.calls == [1, 5, 2]


@pytest.mark.parametrize("expand", [0, 1, 2, 3, 16])
@pytest.mark.parametrize("shots", [1, 2, 3])
def test_prompts_are_counted_before_the_search(expand: int, shots: int) -> None:
    oracle, config = Oracle(), BeamConfig(beam_size=2, shots=shots, expand=expand)
    found = infoscore_beams(QUERIES[:1], POOLS, LIBRARY, oracle, config)
    assert dict(enumerate(oracle.calls)) == prompts_by_shots(5, config)
    assert all(len(beam.icds) == shots for beam in found[3].beams)


def test_most_of_a_large_pool_is_tried_alone_only() -> None:
    """By default; 16 candidates and a pool of 16 are the same search."""
    assert prompts_by_shots(64, BeamConfig()) == {0: 1, 1: 64, 2: 5 * 15}
    assert prompts_at_most(64, BeamConfig(expand=0)) == 380
    assert prompts_by_shots(64, BeamConfig(shots=20))[20] == 5  # as many candidates as shots
    assert search(BeamConfig()) == search(BeamConfig(expand=0))


@pytest.mark.parametrize("expand", [0, 64])
def test_the_whole_pool_finds_what_a_cut_misses(expand: int) -> None:
    library = [item(row) for row in range(65)]
    pools = {64: tuple(range(64))}
    cut, whole = (
        infoscore_beams([library[64]], pools, library, Oracle(), BeamConfig(expand=n))[64].beams
        for n in (16, expand)
    )
    singles = sorted(range(64), key=lambda row: -Oracle.p([row], 64))
    assert {row for beam in cut for row in beam.icds} <= {*singles[:16]}
    assert whole[0].score > cut[0].score


def test_progress_reaches_the_total() -> None:
    seen: list[tuple[int, int]] = []
    search(BeamConfig(), on_progress=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == seen[-1][1]


@pytest.mark.parametrize("pool", [(), (1,), (1, 1)])
def test_a_pool_that_is_too_small_is_told(pool: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="query 3"):
        infoscore_beams([LIBRARY[3]], {3: pool}, LIBRARY, Oracle(), BeamConfig())


def test_a_pool_with_the_query_in_it_is_told() -> None:
    with pytest.raises(UserError, match="query 3 contains the query"):
        infoscore_beams([LIBRARY[3]], {3: (1, 2, 3)}, LIBRARY, Oracle(), BeamConfig())


def test_a_smaller_search_asks_nothing_that_a_larger_one_did_not(tmp_path: Path) -> None:
    """So a folder with beams of the whole pool has others for no prompt."""
    library = [replace(item(row), image=image) for row, image in enumerate(write_images(tmp_path / "images", 25))]
    pools, asked = {24: tuple(range(24))}, []
    with AnswerStore(tmp_path / "answers.sqlite") as store:
        for expand in (0, 16, 8):
            backend = CachedBackend(Oracle(), store)
            infoscore_beams([library[24]], pools, library, backend, BeamConfig(expand=expand))
            asked.append((backend.asked, backend.reused))
    assert asked == [(1 + 24 + 5 * 23, 0), (0, 1 + 24 + 5 * 15), (0, 1 + 24 + 5 * 7)]


@pytest.mark.slow
def test_a_killed_search_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    """With a real VLM, whose batches differ between a whole and a resumed run."""
    images = write_images(tmp_path / "images", 12)
    library = [replace(item(row), image=images[row], answer=ANSWERS[row % 3]) for row in range(12)]
    queries = [library[3], library[8]]
    vlm = TransformersBackend.load(
        str(tiny_vl()),
        digest="tiny",
        style=PromptStyle(layout="turns", question="{question}"),
        generation=Generation(),
        batch_size=8,
    )

    class Dying(Oracle):
        left = 3

        def __init__(self) -> None:
            ApartBackend.__init__(self, digest=vlm.digest, style=vlm.style, generation=vlm.generation)

        def ask(self, *arguments: Any) -> None:
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
            vlm.ask(*arguments)

    def run(backend: Backend, store: AnswerStore, asked: list[VqaItem], chunk: int) -> bytes:
        stored = CachedBackend(backend, store, chunk=chunk)
        beams = infoscore_beams(asked, POOLS, library, stored, BeamConfig(beam_size=2))
        write_beams(tmp_path / "beams.json", beams)
        return (tmp_path / "beams.json").read_bytes()

    with AnswerStore(tmp_path / "whole.sqlite") as store:
        whole = run(vlm, store, queries, chunk=256)
    with AnswerStore(tmp_path / "killed.sqlite") as store:
        with pytest.raises(KeyboardInterrupt):
            run(Dying(), store, queries, chunk=4)
        assert 0 < len(store) < 28
        run(vlm, store, queries[1:], chunk=5)
        assert run(vlm, store, queries, chunk=7) == whole
