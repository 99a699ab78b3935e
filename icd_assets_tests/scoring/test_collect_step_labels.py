"""Step labels against a model whose probabilities are a made-up function of the whole prompt."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from icd_assets.errors import UserError
from icd_assets.scoring.collect_beams import collect_beams
from icd_assets.scoring.collect_step_labels import collect_step_labels
from icd_assets.scoring.infoscore import BeamConfig, infoscore_beams
from icd_assets.scoring.step_label_file import write_step_labels
from icd_assets.scoring.step_labels import StepLabels, facts, merged, prompts_at_most, prompts_of
from icd_assets.tasks.caption.metric import Cider
from icd_assets.tasks.vqa.metric import VqaAccuracy
from icd_assets.vlm.backend import HandOver, Likelihood, Refused
from icd_assets.vlm.cached_backend import AnswerStore, CachedBackend
from icd_assets.vlm.prompts import Prompt
from icd_assets_tests.scoring.test_infoscore import LIBRARY, POOLS, QUERIES, Oracle
from icd_assets_tests.worlds.copying_backend import CopyingBackend

PREFIXES = {3: [(), (4,), (1, 0)], 8: [(2,), ()]}


def labels(backend=None, **settings):  # type: ignore[no-untyped-def]
    return collect_step_labels(QUERIES, POOLS, LIBRARY, backend or Oracle(), PREFIXES, **settings)


def test_a_value_is_that_of_the_prompt_with_the_candidate_next_to_the_query() -> None:
    found = labels()
    assert {row: [step.prefix for step in steps] for row, steps in found.items()} == PREFIXES
    for row, steps in found.items():
        for step in steps:
            rows = [POOLS[row][place] for place in step.prefix]
            assert (step.row, step.base) == (row, pytest.approx(Oracle.p(rows, row)))
            for place, value in enumerate(step.values):
                if place in step.prefix:
                    assert value is None
                else:
                    assert value == pytest.approx(Oracle.p([*rows, POOLS[row][place]], row))


@pytest.mark.parametrize("prefixes", [[()], [(), (4,)], [(4,)], [(4,), (4, 0), (1, 2)], [(), (1, 2)]], ids=str)
def test_each_distinct_prompt_is_asked_once(prefixes: Sequence[tuple[int, ...]]) -> None:
    oracle = Oracle()
    collect_step_labels(QUERIES[:1], POOLS, LIBRARY, oracle, {3: prefixes})
    sequences = {(*p, place) for p in prefixes for place in range(5) if place not in p} | set(prefixes)
    assert sum(oracle.calls) == prompts_of(5, prefixes) == len(sequences)


def test_what_the_plan_says_is_what_is_asked() -> None:
    """With distinct prefixes that share no longer beginning, and single labels that are there."""
    for longest, count in itertools.product((1, 2, 3), (1, 2)):
        prefixes = [tuple(range(at, at + length)) for length in range(1, longest + 1) for at in range(count)]
        asked = prompts_of(64, [(), *prefixes]) - prompts_of(64, [()])
        assert asked <= prompts_at_most(64, longest=longest, per_length=count)
    assert prompts_of(64, [(), (1,), (2,)]) - 65 == prompts_at_most(64, longest=1, per_length=2) == 126


def test_neither_chunks_nor_company_change_a_label() -> None:
    whole = labels()
    assert labels(chunk=1) == whole
    for query in QUERIES:
        alone = collect_step_labels([query], POOLS, LIBRARY, Oracle(), PREFIXES)
        assert alone == {query.row: whole[query.row]}


def with_images(tmp_path: Path):  # type: ignore[no-untyped-def]
    images = [tmp_path / f"{row}.jpg" for row in range(len(LIBRARY))]
    for row, image in enumerate(images):
        image.write_bytes(bytes([row]))
    library = [replace(item, image=image) for item, image in zip(LIBRARY, images, strict=True)]
    return [library[query.row] for query in QUERIES], library


@pytest.mark.parametrize("order", ["left", "right"])
def test_single_labels_and_beams_pay_for_each_other(tmp_path: Path, order: str) -> None:
    queries, library = with_images(tmp_path)
    config = BeamConfig(beam_size=2, construct_order=order)
    singles = {query.row: [()] for query in queries}
    with AnswerStore(tmp_path / "beams_first.sqlite") as store:
        infoscore_beams(queries, POOLS, library, CachedBackend(Oracle(), store), config)
        backend = CachedBackend(Oracle(), store)
        first = collect_step_labels(queries, POOLS, library, backend, singles)
        assert (backend.asked, backend.reused) == (0, 12)
    with AnswerStore(tmp_path / "labels_first.sqlite") as store:
        assert collect_step_labels(queries, POOLS, library, CachedBackend(Oracle(), store), singles) == first
        backend = CachedBackend(Oracle(), store)
        collect_beams(queries, POOLS, library, backend, config)
        assert (backend.asked, backend.reused) == (16, 12)


def test_labels_after_a_pick_pay_for_the_beams_of_that_pick(tmp_path: Path) -> None:
    queries, library = with_images(tmp_path)
    config = BeamConfig(beam_size=1, construct_order="right")
    with AnswerStore(tmp_path / "answers.sqlite") as store:
        found = collect_step_labels(queries, POOLS, library, CachedBackend(Oracle(), store), {3: [()], 8: [()]})
        best = {row: [(max(range(5), key=lambda at: steps[0].values[at] or 0),)] for row, steps in found.items()}
        backend = CachedBackend(Oracle(), store)
        collect_step_labels(queries, POOLS, library, backend, best)
        assert (backend.asked, backend.reused) == (8, 2)
        backend = CachedBackend(Oracle(), store)
        infoscore_beams(queries, POOLS, library, backend, config)
        assert backend.asked == 0


class Dying(Oracle):
    def score(self, prompts: Sequence[Prompt], answers: Sequence[str], hand_over: HandOver[Likelihood]) -> None:
        if sum(self.calls) + len(prompts) > 16:
            raise KeyboardInterrupt
        super().score(prompts, answers, hand_over)


def test_a_killed_collection_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    queries, library = with_images(tmp_path)

    def run(backend: Oracle, store: AnswerStore) -> tuple[bytes, int]:
        cached = CachedBackend(backend, store, chunk=4)
        found = collect_step_labels(queries, POOLS, library, cached, PREFIXES, chunk=1)
        write_step_labels(tmp_path / "labels.json", found, POOLS, label="likelihood")
        return (tmp_path / "labels.json").read_bytes(), cached.asked

    with AnswerStore(tmp_path / "whole.sqlite") as store:
        whole, asked = run(Oracle(), store)
    with AnswerStore(tmp_path / "killed.sqlite") as store:
        with pytest.raises(KeyboardInterrupt):
            run(Dying(), store)
        kept = len(store)
        assert 0 < kept < asked
        assert run(Oracle(), store) == (whole, asked - kept)


def test_accuracy_is_that_of_the_models_answer() -> None:
    backend = CopyingBackend(
        alone="answer 3"
    )  # right of query 3 alone: else it says what the last demonstration does
    found = labels(backend, label="accuracy", metric=VqaAccuracy())
    zero_shot, after, _ = found[3]
    assert (zero_shot.base, set(zero_shot.values)) == (
        VqaAccuracy().scores(["answer 3"], [("answer 3",)])[0],
        {0.0},
    )
    assert (after.base, after.values[4]) == (0.0, None)
    assert backend.likelihoods == []
    assert len(backend.asked) == prompts_of(5, PREFIXES[3]) + prompts_of(5, PREFIXES[8])


def test_ciders_are_shares_of_the_largest() -> None:
    queries = [replace(QUERIES[0], answers=("answer 9 or so",))]
    metric = Cider([["answer 9 or so"], ["a dog"], ["two dogs"]])
    one = {3: [()]}
    found = collect_step_labels(
        queries, POOLS, LIBRARY, CopyingBackend(), one, label="accuracy", metric=metric, best_score=10
    )
    raw = metric.scores([metric.clean("answer 9, or so")], [queries[0].answers])[0]
    assert found[3][0].values[0] == pytest.approx(raw / 10)
    assert raw > 1


class Refusing(CopyingBackend):
    """Its server does not take prompts whose last demonstration is one of ``rows``."""

    def __init__(self, rows: Sequence[int]) -> None:
        super().__init__()
        self.rows = {f"{row}" for row in rows}

    def answer(self, prompts: Sequence[Prompt], hand_over: HandOver[str]) -> None:
        refused = {
            at: Refused() for at, p in enumerate(prompts) if p.shots and p.shots[-1].image.stem in self.rows
        }
        super().answer(prompts, lambda answers: hand_over({**answers, **refused}))


def test_a_refused_prompt_has_no_label() -> None:
    found = labels(Refusing([POOLS[3][4]]), label="accuracy", metric=VqaAccuracy())
    assert found[3][0].values == (0.0, 0.0, 0.0, 0.0, None)
    assert (found[3][1].prefix, found[3][1].base) == ((4,), None)
    assert facts(found)["mean_before"] == 0
    with pytest.raises(UserError, match="refused every prompt"):
        labels(Refusing(range(12)), label="accuracy", metric=VqaAccuracy())


def test_progress_counts_prompts_to_the_last() -> None:
    seen: list[tuple[int, int]] = []
    labels(chunk=1, on_progress=lambda done, total: seen.append((done, total)))
    total = prompts_of(5, PREFIXES[3]) + prompts_of(5, PREFIXES[8])
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert (seen[-1], {of for _, of in seen}) == ((total, total), {total})


@pytest.mark.parametrize("prefix", [(1, 1), (5,), (-1,)])
def test_a_prefix_outside_the_pool_is_refused(prefix: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="different positions"):
        collect_step_labels(QUERIES[:1], POOLS, LIBRARY, Oracle(), {3: [prefix]})


def test_a_pool_without_a_candidate_left_is_refused() -> None:
    with pytest.raises(UserError, match="query 3 has 5 candidates"):
        collect_step_labels(QUERIES[:1], POOLS, LIBRARY, Oracle(), {3: [(0, 1, 2, 3, 4)]})


def test_a_metric_goes_with_accuracy_alone() -> None:
    with pytest.raises(ValueError, match="knows no metric"):
        labels(metric=VqaAccuracy())
    with pytest.raises(ValueError, match="needs a metric"):
        labels(label="accuracy")


def test_fifteen_picks_and_a_sixteenth() -> None:
    pools = {0: tuple(range(1, 21))}
    library = [replace(LIBRARY[1], row=row, question_id=row, image=Path(f"{row}.jpg")) for row in range(21)]
    backend = CopyingBackend()
    prefixes = {0: [tuple(range(length)) for length in range(16)]}
    found = collect_step_labels(library[:1], pools, library, backend, prefixes)
    assert [sum(value is not None for value in step.values) for step in found[0]] == list(range(20, 4, -1))
    assert max(len(prompt.shots) for prompt, _ in backend.likelihoods) == 16


def test_labels_of_several_files_are_one_list_a_query() -> None:
    def step(row: int, *prefix: int) -> StepLabels:
        return StepLabels(row, prefix, (0.5, None), 0.1)

    first, second = {8: [step(8)], 3: [step(3)]}, {3: [step(3, 1), replace(step(3), base=0.9)]}
    assert merged(first, second) == {3: [step(3), step(3, 1)], 8: [step(8)]}
    assert list(merged(first, second)) == [3, 8]
