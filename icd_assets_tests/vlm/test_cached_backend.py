"""The store must never ask twice, never lose what was committed, and never destroy a file."""

from __future__ import annotations

import hashlib
import math
import sqlite3
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from icd_assets.errors import UserError
from icd_assets.vlm.backend import ApartBackend, Generation, HandOver, Likelihood, Question
from icd_assets.vlm.cached_backend import AnswerStore, CachedBackend
from icd_assets.vlm.prompts import Prompt, PromptStyle, Shot
from icd_assets_tests.programs import program


class Parrot(ApartBackend):
    """A backend whose answers are a function of the question."""

    def __init__(self, digest: str = "parrot", generation: Generation | None = None) -> None:
        super().__init__(digest=digest, style=PromptStyle(), generation=generation or Generation())
        self.calls: list[int] = []

    def answer(self, prompts: Sequence[Prompt], hand_over: HandOver[str]) -> None:
        self.calls.append(len(prompts))
        hand_over({at: f"{prompt.question} indeed" for at, prompt in enumerate(prompts)})

    def score(self, prompts: Sequence[Prompt], answers: Sequence[str], hand_over: HandOver[Likelihood]) -> None:
        self.calls.append(len(prompts))
        for at, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
            digest = hashlib.sha256((prompt.question + answer).encode()).hexdigest()
            hand_over({at: Likelihood(-int(digest[:12], 16) / 3e13, 1 + len(answer))})


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.jpg"
    path.write_bytes(b"one picture")
    return path


@pytest.fixture
def store(tmp_path: Path):  # type: ignore[no-untyped-def]
    with AnswerStore(tmp_path / "answers.sqlite") as store:
        yield store


def prompts(image: Path, *questions: str) -> list[Prompt]:
    return [Prompt((), image, question) for question in questions]


def questions(image: Path, *texts: str) -> list[Question]:
    return [Question(prompt) for prompt in prompts(image, *texts)]


def test_both_kinds_are_asked_together_and_what_begins_alike(store: AnswerStore, image: Path) -> None:
    class Noted(Parrot):
        def ask(self, questions: Sequence[Question], hand_over: HandOver[Any]) -> None:
            asked.append([(question.prompt.question, question.answer) for question in questions])
            super().ask(questions, hand_over)

    asked: list[list[tuple[str, str | None]]] = []
    mixed = [Question(prompt, answer) for answer in (None, "x") for prompt in prompts(image, *"cab")]
    backend = CachedBackend(Noted(), store, chunk=4)
    replies = backend.replies(mixed)
    assert asked == [[("a", None), ("a", "x"), ("b", None), ("b", "x")], [("c", None), ("c", "x")]]
    assert replies == Parrot().replies(mixed)
    assert backend.replies(mixed[::-1]) == replies[::-1]
    assert backend.generate(prompts(image, "a")) == ["a indeed"]
    assert (len(asked), backend.asked, backend.reused) == (2, 6, 7)


def test_nothing_is_asked_twice_and_order_is_kept(store: AnswerStore, image: Path) -> None:
    backend = CachedBackend(Parrot(), store)
    asked = prompts(image, "a", "b", "a", "c")
    answers = ["a indeed", "b indeed", "a indeed", "c indeed"]
    assert backend.generate(asked) == answers
    assert (backend.asked, backend.reused) == (3, 1)
    assert backend.generate(asked[::-1]) == answers[::-1]
    assert (backend.asked, backend.reused) == (3, 5)
    assert backend.backend.calls == [3]  # type: ignore[attr-defined]


def test_likelihoods_come_back_to_the_bit(store: AnswerStore, image: Path) -> None:
    asked, answers = prompts(image, *"abc"), ["x", "yy", "zzz"]
    first = CachedBackend(Parrot(), store).answer_likelihoods(asked, answers)
    again = CachedBackend(Parrot(), store)
    assert again.answer_likelihoods(asked, answers) == first == Parrot().answer_likelihoods(asked, answers)
    assert again.asked == 0


def test_whatever_decides_an_answer_is_part_of_its_key(store: AnswerStore, image: Path, tmp_path: Path) -> None:
    (asked,) = prompts(image, "a")
    other = tmp_path / "other.jpg"
    other.write_bytes(b"another picture")

    def is_new(backend: Parrot, prompt: Prompt) -> bool:
        stored = CachedBackend(backend, store)
        stored.generate([prompt])
        return stored.asked == 1

    assert is_new(Parrot(), asked)
    assert not is_new(Parrot(), asked)
    assert is_new(Parrot("other weights"), asked)
    assert is_new(Parrot(generation=Generation(num_beams=1)), asked)
    assert is_new(Parrot(), Prompt((), other, "a"))
    assert is_new(Parrot(), Prompt((Shot(image, "q", "a"),), image, "a"))
    assert is_new(Parrot(), Prompt((Shot(other, "q", "a"),), image, "a"))
    stored = CachedBackend(Parrot(), store)
    stored.answer_likelihoods([asked, asked], ["x", "y"])
    assert stored.asked == 2


def test_an_image_is_known_by_its_bytes(store: AnswerStore, image: Path, tmp_path: Path) -> None:
    backend = CachedBackend(Parrot(), store)
    backend.generate(prompts(image, "a"))
    moved = image.rename(tmp_path / "elsewhere.jpg")
    backend.generate(prompts(moved, "a"))
    assert backend.asked == 1
    moved.write_bytes(b"a changed picture")
    backend.generate(prompts(moved, "a"))
    assert backend.asked == 2
    with pytest.raises(UserError, match=r"image\.jpg"):
        backend.generate(prompts(image, "a"))


def test_a_kill_loses_at_most_one_chunk(tmp_path: Path, image: Path) -> None:
    class Dying(Parrot):
        def answer(self, prompts: Sequence[Prompt], hand_over: HandOver[str]) -> None:
            if len(self.calls) == 2:
                raise KeyboardInterrupt
            super().answer(prompts, hand_over)

    asked = prompts(image, *(str(number) for number in range(10)))
    with AnswerStore(tmp_path / "a.sqlite") as store, pytest.raises(KeyboardInterrupt):
        CachedBackend(Dying(), store, chunk=3).generate(asked)
    with AnswerStore(tmp_path / "a.sqlite") as store:
        assert len(store) == 6
        again = CachedBackend(Parrot(), store, chunk=3)
        assert again.generate(asked) == Parrot().generate(asked)
        assert (again.asked, again.reused) == (4, 6)
        assert again.backend.calls == [3, 1]  # type: ignore[attr-defined]


def test_what_a_failed_chunk_had_answered_is_kept(store: AnswerStore, image: Path) -> None:
    class Failing(Parrot):
        def answer(self, prompts: Sequence[Prompt], hand_over: HandOver[str]) -> None:
            hand_over({2: "c indeed", 0: "a indeed"})
            raise UserError("the server is gone")

    asked = prompts(image, *"aabcd")  # the second a is not asked: positions are those of the missing ones
    with pytest.raises(UserError, match="gone"):
        CachedBackend(Failing(), store).generate(asked)
    again = CachedBackend(Parrot(), store)
    assert again.generate(asked) == Parrot().generate(asked)
    assert (again.asked, again.reused) == (2, 3)


def test_answers_of_older_stores_are_found_again(store: AnswerStore, image: Path) -> None:
    """These keys are in stores that people keep: whatever changes them throws days of a GPU away."""
    asked = Prompt((Shot(image, "which?", "red"),), image, "a")
    generated = bytes.fromhex("057cdda2ae0f84ecf5c755ab2ca32b289412223055524727021e035db5069732")
    scored = bytes.fromhex("23c00739791acc8e2becb856643b94603454107b02acb3f60d3ccd4b3c59a1a4")
    store.add({generated: "kept", scored: Likelihood(-1.5, 2)})
    backend = CachedBackend(Parrot(), store)
    assert backend.generate([asked]) == ["kept"]
    assert backend.answer_likelihoods([asked], ["red"]) == [Likelihood(-1.5, 2)]
    assert (backend.asked, backend.reused) == (0, 2)


def test_every_batch_is_committed_before_it_is_handed_over(store: AnswerStore, image: Path) -> None:
    class InBatches(Parrot):
        def answer(self, prompts: Sequence[Prompt], hand_over: HandOver[str]) -> None:
            for at, prompt in enumerate(prompts):
                hand_over({at: prompt.question})

    kept: list[int] = []
    CachedBackend(InBatches(), store).ask(questions(image, *"abca"), lambda _: kept.append(len(store)))
    assert kept == [1, 2, 3]


def test_an_answer_that_a_backend_leaves_out_is_no_answer(store: AnswerStore, image: Path) -> None:
    class Forgetful(Parrot):
        def answer(self, prompts: Sequence[Prompt], hand_over: HandOver[str]) -> None:
            super().answer(prompts[:-1], hand_over)

    with pytest.raises(ValueError, match="2 of 3 answers"):
        Forgetful().generate(prompts(image, *"abc"))
    with pytest.raises(ValueError, match="3 of 4 answers"):
        CachedBackend(Forgetful(), store).generate(prompts(image, *"abca"))


def test_a_store_in_front_of_a_store_hands_over_what_it_knows(store: AnswerStore, image: Path) -> None:
    found = dict[int, Any]()
    CachedBackend(Parrot(), store, chunk=2).ask(questions(image, *"abcab"), found.update)
    assert [found[index] for index in range(5)] == Parrot().generate(prompts(image, *"abcab"))


def test_progress_counts_all_prompts(store: AnswerStore, image: Path) -> None:
    seen: list[tuple[int, int]] = []
    asked = prompts(image, *"abcde")
    CachedBackend(Parrot(), store, chunk=2).generate(asked, lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (5, 5)


def test_two_processes_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    writers = [subprocess.Popen(program("write_answers", str(path), name)) for name in ("left", "right")]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    with AnswerStore(path) as store:
        assert len(store) == 180
        assert store.likelihoods([b"shared 7"]) == {b"shared 7": Likelihood(-7.0, 1)}


@pytest.mark.parametrize("content", ["text", "sqlite", "version", "header", "folder"])
def test_a_foreign_or_damaged_file_is_refused_and_kept(tmp_path: Path, content: str) -> None:
    path = tmp_path / "answers.sqlite"
    if content == "text":
        path.write_text("these are my notes, not a database\n" * 100)
    elif content == "folder":
        path.mkdir()
    elif content == "sqlite":
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE mine (x)")
        connection.close()
    else:
        AnswerStore(path).close()
        if content == "version":
            with sqlite3.connect(path) as connection:
                connection.execute("PRAGMA user_version = 99")
            connection.close()
        else:
            path.write_bytes(path.read_bytes()[:50])
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(UserError, match=r"answers\.sqlite"):
        AnswerStore(path)
    assert before is None or path.read_bytes() == before


def test_damaged_pages_are_told(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    with AnswerStore(path) as store:
        store.add({bytes([i]) * 32: "x" * 500 for i in range(200)})
    content = bytearray(path.read_bytes())
    content[8192:] = b"\xa5" * (len(content) - 8192)
    path.write_bytes(bytes(content))
    with AnswerStore(path) as store, pytest.raises(UserError, match="damaged"):
        store.texts([bytes([i]) * 32 for i in range(200)])


@pytest.mark.parametrize("row", [("x", None), (math.inf, 1), (0.5, 1), (-1.0, 0), (-1.0, "many"), (None, None)])
def test_an_entry_that_cannot_be_is_told(tmp_path: Path, row: tuple[object, object]) -> None:
    path = tmp_path / "answers.sqlite"
    AnswerStore(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO answers VALUES (?, NULL, ?, ?)", (b"key", *row))
    connection.close()
    with AnswerStore(path) as store:
        with pytest.raises(UserError, match="damaged"):
            store.likelihoods([b"key"])
        with pytest.raises(UserError, match="damaged"):
            store.texts([b"key"])


def test_a_picture_that_is_shown_on_white_is_not_the_one_shown_on_black(tmp_path: Path) -> None:
    from icd_assets.store.digests import sha256_file
    from icd_assets.vlm.images import pixels_digest

    opaque, clear = tmp_path / "opaque.png", tmp_path / "clear.png"
    Image.new("RGB", (4, 4)).save(opaque)
    Image.new("RGBA", (4, 4)).save(clear)
    assert pixels_digest(opaque) == sha256_file(opaque)  # answers of before stay
    assert pixels_digest(clear) != sha256_file(clear)
