"""Several servers of one model: all of them work, none of them is needed, and each is pressed as it likes."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from pydantic import ValidationError

from icd_assets.errors import UserError
from icd_assets.store.digests import DigestCache
from icd_assets.vlm import endpoint_pool
from icd_assets.vlm.backend import Generation, Question
from icd_assets.vlm.backends.served import Served
from icd_assets.vlm.cached_backend import AnswerStore, CachedBackend
from icd_assets.vlm.endpoint import Endpoint
from icd_assets.vlm.endpoint_backend import EndpointBackend
from icd_assets.vlm.prompts import Prompt, PromptStyle, Shot
from icd_assets_tests.worlds.fake_server import Answered, FakeServer, Json, as_json, echo, question, slowly

GREEDY = Generation(max_new_tokens=5, num_beams=1)
Reply = Callable[[Json, int], Answered]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.jpg"
    Image.new("RGB", (8, 8)).save(path)
    return path


def backend(endpoint: Endpoint) -> EndpointBackend:
    return EndpointBackend(endpoint, style=PromptStyle(layout="turns", question="{question}"), generation=GREEDY)


def both(first: FakeServer, second: FakeServer, **fields: Any) -> Endpoint:
    return first.endpoint(replicas=[second.endpoint().url], **fields)


def prompts(image: Path, count: int) -> list[Prompt]:
    return [Prompt((), image, str(number)) for number in range(count)]


def answers(count: int) -> list[str]:
    return [f"{number} indeed" for number in range(count)]


def test_all_servers_work_and_none_is_pressed_beyond_its_bound(image: Path) -> None:
    with FakeServer(slowly(0.01, echo)) as first, FakeServer(slowly(0.01, echo)) as second:
        assert backend(both(first, second, concurrency=3)).generate(prompts(image, 90)) == answers(90)
        asked = [len(server.bodies) for server in (first, second)]
    assert sum(asked) == 90
    assert min(asked) >= 15
    assert max(first.most_at_once, second.most_at_once) <= 3


@pytest.mark.parametrize("how", ["drops", "fails", "overloaded"])
def test_a_server_that_fails_leaves_its_prompts_to_the_others(
    image: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    replies = {
        "drops": Answered(None),
        "fails": as_json({"error": {"message": "CUDA out of memory"}}, 500),
        "overloaded": as_json({"error": {"message": "later"}}, 429),
    }

    def dying(body: Json, number: int) -> Answered:
        return echo(body, number) if number <= 10 else replies[how]

    with FakeServer(dying) as first, FakeServer() as second, caplog.at_level(logging.WARNING):
        found = backend(both(first, second, concurrency=4, retries=0)).generate(prompts(image, 200))
    assert found == answers(200)
    assert len(second.bodies) >= 190
    (warning,) = caplog.messages
    assert first.endpoint().url in warning
    assert warning.endswith("Left out for 30 s; the other servers go on.")


def test_if_none_is_left_the_run_ends_and_keeps_what_came(image: Path, tmp_path: Path) -> None:
    def dying(body: Json, number: int) -> Answered:
        return echo(body, number) if number <= 10 else Answered(None)

    with AnswerStore(tmp_path / "answers.sqlite") as store:
        with (
            FakeServer(dying) as first,
            FakeServer(dying) as second,
            pytest.raises(UserError, match="cannot be reached"),
        ):
            CachedBackend(backend(both(first, second, retries=0, concurrency=2)), store).generate(
                prompts(image, 90)
            )
        assert 16 <= len(store) <= 20


def test_a_server_that_is_back_is_asked_again(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_pool, "_PAUSE_SECONDS", 0.1)

    def away_at_first(body: Json, number: int) -> Answered:
        return Answered(None) if number <= 6 else echo(body, number)

    with FakeServer(away_at_first) as first, FakeServer(slowly(0.02, echo)) as second:
        found = backend(both(first, second, concurrency=2, retries=0)).generate(prompts(image, 200))
    assert found == answers(200)
    assert len(first.bodies) > 30


def test_a_server_that_pushes_back_is_asked_half_as_much_at_once() -> None:
    client = SimpleNamespace(pushed_back=0)

    async def round_of(server: endpoint_pool._Server, pushed_back: int) -> int:
        """As many at once as it allows; ``pushed_back`` of them are answered so. How many there were."""
        there, gone = 0, asyncio.Event()

        async def one() -> None:
            nonlocal there
            async with server.slot():
                there += 1
                await gone.wait()
                client.pushed_back += there > before - pushed_back
                there -= 1

        tasks = [asyncio.create_task(one()) for _ in range(16)]
        await asyncio.sleep(0.01)
        before = there
        for task in tasks[before:]:
            task.cancel()
        gone.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        return before

    async def rounds() -> list[int]:
        server = endpoint_pool._Server(client, 16)  # type: ignore[arg-type]
        return [await round_of(server, pushed) for pushed in (0, 16, 0, 0, 1, 0, 3, 8, 8, 8)]

    assert asyncio.run(rounds()) == [16, 16, 8, 9, 10, 5, 6, 3, 1, 1]


def test_all_is_answered_by_a_server_that_pushes_back(image: Path) -> None:
    lock, there = threading.Lock(), [0]

    def three_at_once(body: Json, number: int) -> Answered:
        with lock:
            there[0] += 1
            crowded = there[0] > 3
        try:
            return as_json({"error": {"message": "slow down"}}, 429) if crowded else slow(body, number)
        finally:
            with lock:
                there[0] -= 1

    slow: Reply = slowly(0.01, echo)
    with FakeServer(three_at_once) as server:
        endpoint = server.endpoint(concurrency=16, retries=20)
        assert backend(endpoint).generate(prompts(image, 200)) == answers(200)
    assert len(server.bodies) > 200


def test_prompts_that_begin_alike_follow_each_other(image: Path) -> None:
    shots = [Shot(image, "which?", word) for word in ("red", "green", "blue")]
    asked = [Prompt((shots[number % 3],), image, f"{number} {shots[number % 3].answer}") for number in range(30)]
    with FakeServer() as server:
        found = backend(server.endpoint(concurrency=1)).generate(asked)
    assert found == [f"{prompt.question} indeed" for prompt in asked]
    order = [question(body).split()[1] for body in server.bodies]
    assert sum(a != b for a, b in itertools.pairwise(order)) == 2


def test_a_prompt_that_is_refused_ends_the_run_wherever_it_was_asked(image: Path) -> None:
    def refuses(body: Json, number: int) -> Answered:
        return as_json({"error": {"message": "too long"}}, 400) if question(body) == "7" else echo(body, number)

    with (
        FakeServer(refuses) as first,
        FakeServer(refuses) as second,
        pytest.raises(UserError, match=r"was refused: .* answered 400"),
    ):
        backend(both(first, second)).generate(prompts(image, 30))


def test_servers_of_other_weights_are_refused(image: Path) -> None:
    def listing(root: str) -> Answered:
        return as_json({"data": [{"id": "m", "root": root}]})

    with FakeServer(models=listing("a/b")) as first, FakeServer(models=listing("a/c")) as second:
        with pytest.raises(UserError, match=r"serves a/b as m, but http://.* serves a/c; serve the same weights"):
            backend(both(first, second, revision=None))
        backend(both(first, second))  # pinned: the user says that they are the same
    with FakeServer(models=listing("a/b")) as first, FakeServer(models=listing("a/b")) as second:
        one, two = backend(first.endpoint(revision=None)), backend(both(first, second, revision=None))
        assert one.digest == two.digest


def test_a_server_that_does_not_say_what_it_serves_is_not_asked(
    image: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """When it is there again it may serve anything."""
    listing = as_json({"data": [{"id": "m", "root": "a/b"}]})
    with FakeServer() as away:
        url = away.endpoint().url
    with FakeServer(models=listing) as there, caplog.at_level(logging.WARNING):
        several = backend(Endpoint(url=url, replicas=(there.endpoint().url,), model="m", server="vllm", retries=0))
        assert several.endpoint.urls == (there.endpoint().url,)
        assert several.generate(prompts(image, 20)) == answers(20)
        assert several.digest == backend(there.endpoint(revision=None)).digest
    assert [message.endswith("Left out; the other servers are asked.") for message in caplog.messages] == [True]


def test_the_check_names_the_servers_that_are_away(tmp_path: Path) -> None:
    listing = as_json({"data": [{"id": "m", "root": "a/b"}]})
    with FakeServer() as away:
        url = away.endpoint().url
    with FakeServer(models=listing) as there:
        endpoint = there.endpoint(replicas=[url], revision=None)
        found = [*Served(endpoint=endpoint).check("m", PromptStyle(), DigestCache(tmp_path / "digests.json"))]
    assert [(finding.level, finding.todo) for finding in found] == [
        ("ok", ""),
        ("warning", "the other servers are asked"),
    ]
    assert url in found[1].found
    with pytest.raises(UserError, match="cannot be reached"):
        [*Served(endpoint=endpoint).check("m", PromptStyle(), DigestCache(tmp_path / "digests.json"))]


def test_an_answer_does_not_depend_on_the_number_of_servers() -> None:
    one = Endpoint(url="http://a/v1", model="m", server="vllm")
    assert one.digest == Endpoint(url="http://b/v1", replicas=("http://c/v1",), model="m", server="vllm").digest


@pytest.mark.parametrize(
    ("replicas", "words"),
    [
        (["http://a/v1/"], "has http://a/v1 twice, or as the url"),
        (["http://b/v1", "http://b/v1"], "has http://b/v1 twice"),
        (["ftp://b"], "must be http://host"),
        (["http://user:secret@b/v1"], "must hold no user"),
        (["http://b/v1"] * 300, "at most 255 items"),
        ("http://b/v1", "valid tuple"),
    ],
)
def test_addresses_that_cannot_be_are_told(replicas: object, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Endpoint(url="http://a/v1", replicas=replicas, model="m", server="vllm")  # type: ignore[arg-type]


def test_requests_are_asked_together(image: Path) -> None:
    """Else all servers would wait for the slowest prompt of each chunk."""
    with FakeServer(slowly(0.02, echo)) as server:
        asked = backend(server.endpoint(concurrency=8))
        found: dict[tuple[int, int], str] = {}
        several = [prompts(image, 2) for _ in range(12)]
        asked.ask_each(
            ([Question(prompt) for prompt in own] for own in several),
            lambda number, some: found.update({(number, at): a for at, a in some.items()}),
        )
    assert found == {(number, at): f"{at} indeed" for number in range(12) for at in range(2)}
    assert server.most_at_once > 4
