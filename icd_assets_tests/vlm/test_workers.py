"""A model in several processes answers as one does, whoever dies on the way."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

import pytest

from icd_assets.errors import UserError
from icd_assets.runtime.process_record import ProcessRecord
from icd_assets.vlm import local_workers
from icd_assets.vlm.backend import ApartBackend, Backend, Generation, HandOver, Likelihood, Question
from icd_assets.vlm.cached_backend import AnswerStore, CachedBackend
from icd_assets.vlm.local_workers import on_this_machine
from icd_assets.vlm.prompts import Prompt, PromptStyle
from icd_assets.vlm.workers import WorkerDied, Workers

PLACES = [{"PLACE": "a"}, {"PLACE": "b"}]


class Clerk(ApartBackend):
    """Answers three prompts at a time with what its process knows, and notes each of them in a folder."""

    def __init__(self, folder: Path, pause: float = 0.0) -> None:
        super().__init__(digest="clerk", style=PromptStyle(), generation=Generation())
        self.folder = folder
        self.pause = pause

    def answer(self, prompts: Sequence[Prompt], hand_over: HandOver[str]) -> None:
        for start in range(0, len(prompts), 3):
            batch = [prompt.question for prompt in prompts[start : start + 3]]
            with (self.folder / "met").open("a") as notes:
                notes.write(f"{os.getpid()} {os.environ['PLACE']} {'|'.join(batch)}\n")
            for question in batch:
                self._meets(question)
            time.sleep(self.pause)
            hand_over({start + at: f"{p.question}!" for at, p in enumerate(prompts[start : start + 3])})

    def score(self, prompts: Sequence[Prompt], answers: Sequence[str], hand_over: HandOver[Likelihood]) -> None:
        hand_over({at: Likelihood(-float(len(answer)), 1) for at, answer in enumerate(answers)})

    def _meets(self, question: str) -> None:
        if question == "die once" and not (self.folder / "died").exists():
            (self.folder / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if question == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if question == "refuse":
            raise UserError("question_id 7 has no picture.")
        if question == "fail":
            raise KeyError("something")
        if question == "memory":
            raise MemoryError("Unable to allocate 9 GiB")

    def batches(self) -> list[list[str]]:
        """(process, place, questions between bars)"""
        path = self.folder / "met"
        return [line.split(maxsplit=2) for line in path.read_text().splitlines()] if path.is_file() else []

    def met(self) -> list[list[str]]:
        """(process, place, question)"""
        return [[*where, one] for *where, batch in self.batches() for one in batch.split("|")]


@pytest.fixture
def clerk(tmp_path: Path) -> Clerk:
    return Clerk(tmp_path)


@pytest.fixture
def several(clerk: Clerk) -> Iterator[Workers]:
    with opened(clerk) as backend:
        yield backend


def opened(
    clerk: Clerk,
    places: Sequence[dict[str, str]] = PLACES,
    *,
    opens: Callable[[], Backend] | None = None,
    digest: str = "clerk",
) -> Workers:
    return Workers(
        opens or partial(Clerk, clerk.folder, clerk.pause),
        partial(on_this_machine, places),
        digest=digest,
        style=clerk.style,
        generation=clerk.generation,
    )


def prompts(*questions: str) -> list[Prompt]:
    return [Prompt((), Path("no.jpg"), question) for question in questions]


def questions(*asked: Sequence[Prompt]) -> Iterator[list[Question]]:
    return iter([[Question(prompt) for prompt in prompts] for prompts in asked])


def numbers(count: int) -> list[Prompt]:
    return prompts(*map(str, range(count)))


def test_requests_are_shared_and_answers_come_back_in_their_places(clerk: Clerk) -> None:
    clerk.pause = 0.05  # or one of them might be through before the other is there
    requests = [numbers(7), numbers(5), prompts("x"), numbers(40), numbers(40)]
    found: dict[int, dict[int, str]] = {number: {} for number in range(len(requests))}
    with opened(clerk) as several:
        several.ask_each(questions(*requests), lambda number, answers: found[number].update(answers))
    assert [[found[number][at] for at in range(len(asked))] for number, asked in enumerate(requests)] == [
        [f"{prompt.question}!" for prompt in asked] for asked in requests
    ]
    assert {place for _, place, _ in clerk.met()} == {"a", "b"}
    assert len(clerk.met()) == sum(map(len, requests))


def test_likelihoods_and_single_requests(several: Workers) -> None:
    assert several.generate(prompts("a", "b")) == ["a!", "b!"]
    assert several.answer_likelihoods(prompts("a", "b"), ["x", "yy"]) == [Likelihood(-1.0, 1), Likelihood(-2.0, 1)]


def test_a_dead_worker_is_started_again_for_what_it_had_not_answered(several: Workers, clerk: Clerk) -> None:
    asked = prompts("a", "b", "c", "d", "die once", "e", "f")
    assert several.generate(asked) == [f"{prompt.question}!" for prompt in asked]
    questions = [question for *_, question in clerk.met()]
    assert questions.count("a") == 1
    assert questions.count("d") == 2, "the batch in which it died"


def test_prompts_at_which_workers_die_are_told(several: Workers) -> None:
    with pytest.raises(WorkerDied, match=r"was ended by SIGKILL 3 times at the same 2 prompts; .*ICD_WORKERS"):
        several.generate(prompts("a", "b", "c", "d", "die"))
    assert several.generate(prompts("a")) == ["a!"], "and others can be asked"


@pytest.mark.parametrize(
    ("question", "error", "words"),
    [
        ("refuse", UserError, "^question_id 7 has no picture.$"),
        ("fail", RuntimeError, "KeyError: 'something'"),
        ("memory", MemoryError, "9 GiB"),
    ],
)
def test_an_error_is_raised_here(several: Workers, question: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        several.generate(prompts("a", question))
    assert several.generate(prompts("a")) == ["a!"]


def test_what_cannot_be_opened_is_told(clerk: Clerk) -> None:
    backend = opened(clerk, opens=_cannot)
    with pytest.raises(UserError, match="no weights"):
        backend.generate(prompts("a"))


def _cannot() -> NoReturn:
    raise UserError("the model's folder has no weights.")


def test_another_model_than_was_to_be_opened_is_refused(clerk: Clerk) -> None:
    backend = opened(clerk, digest="another")
    with pytest.raises(ValueError, match="opened clerk, not another"):
        backend.generate(prompts("a"))


def test_what_is_kept_starts_no_process(clerk: Clerk, tmp_path: Path) -> None:
    image = tmp_path / "image.jpg"
    image.write_bytes(b"a picture")
    asked = [Prompt((), image, str(number % 8)) for number in range(20)]
    store = tmp_path / "answers.sqlite"
    with CachedBackend(opened(clerk), AnswerStore(store), chunk=3) as cached:
        first = cached.generate(asked)
        assert (cached.asked, cached.reused) == (8, 12)
    met = clerk.met()
    with CachedBackend(opened(clerk), AnswerStore(store), chunk=3) as cached:
        assert cached.generate(asked) == first
        assert cached.asked == 0
    assert clerk.met() == met


def test_batches_do_not_depend_on_the_number_of_workers(
    clerk: Clerk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU an answer's last bits depend on its batch."""
    monkeypatch.setenv("PLACE", "here")
    image = tmp_path / "image.jpg"
    image.write_bytes(b"a picture")
    asked = [Prompt((), image, str(number % 31)) for number in range(50)]
    batches: list[list[str]] = []
    for count in (0, 1, 2, 3):
        (tmp_path / "met").unlink(missing_ok=True)
        backend: Backend = clerk if count == 0 else opened(clerk, [{"PLACE": str(n)} for n in range(count)])
        with CachedBackend(backend, AnswerStore(tmp_path / f"{count}.sqlite"), chunk=8) as cached:
            cached.generate(asked)
        batches.append(sorted(batch for *_, batch in clerk.batches()))
    assert batches[0] == batches[1] == batches[2] == batches[3]
    assert len(batches[0]) > 10


def test_an_interrupt_leaves_no_process(clerk: Clerk) -> None:
    clerk.pause = 0.2
    with opened(clerk) as backend:

        def interrupted(_: int, answers: object) -> NoReturn:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            backend.ask_each(questions(numbers(30), numbers(30), numbers(30)), interrupted)
        pids = {int(pid) for pid, *_ in clerk.met()}
        assert pids
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_worker_that_does_not_end_is_killed(clerk: Clerk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_workers, "_END_SECONDS", 0.2)
    with opened(clerk) as backend:
        backend.generate(numbers(3))
        (pid,) = {int(pid) for pid, *_ in clerk.met()}
        os.kill(pid, signal.SIGSTOP)
        backend.close()
        assert not Path(f"/proc/{pid}").exists()


def test_workers_end_with_a_killed_parent(clerk: Clerk, tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        clerk.pause = 30.0
        opened(clerk).ask_each(questions(numbers(3), numbers(3)), lambda *_: None)
        os._exit(1)
    _until(lambda: len(clerk.met()) == 6)
    processes = [ProcessRecord.of(pid) for pid in {int(pid) for pid, *_ in clerk.met()}]
    assert len(processes) == 2
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    _until(lambda: all(process.gone() for process in processes), 10)


def _until(done: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)
