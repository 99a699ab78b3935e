"""The endpoint backend against a server that does what servers do: refuse, stumble, lie, and go away."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from dagster._core.errors import DagsterExecutionInterruptedError, raise_execution_interrupts
from dagster._utils.interrupts import capture_interrupts

from icd_assets.errors import UserError
from icd_assets.vlm.backend import Generation
from icd_assets.vlm.cached_backend import AnswerStore, CachedBackend
from icd_assets.vlm.endpoint import Endpoint
from icd_assets.vlm.endpoint_backend import EndpointBackend
from icd_assets.vlm.prompts import Prompt, PromptStyle, Shot
from icd_assets_tests.programs import program
from icd_assets_tests.worlds.fake_server import Answered, FakeServer, Json, as_json, echo, question, said, slowly
from icd_assets_tests.worlds.tiny import write_images

GREEDY = Generation(num_beams=1, max_new_tokens=4)
PLAIN = PromptStyle(question="{question}")
KEY = "sk-the-secret-9f2c"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images"), 1, (8, 8))[0]


def prompts(image: Path, count: int) -> list[Prompt]:
    return [Prompt((), image, f"question {number}") for number in range(count)]


def answers(count: int) -> list[str]:
    return [f"question {number} indeed" for number in range(count)]


def backend(endpoint: Endpoint, generation: Generation = GREEDY, style: PromptStyle = PLAIN) -> EndpointBackend:
    return EndpointBackend(endpoint, style=style, generation=generation)


def test_order_is_kept_and_concurrency_is_bounded(image: Path) -> None:
    def reply(body: Json, number: int) -> Answered:
        time.sleep(0.02 * (1 + number % 4))
        return echo(body, number)

    heard: dict[int, str] = {}
    seen: list[tuple[int, int]] = []
    with FakeServer(reply) as server:
        asked = backend(server.endpoint(concurrency=5))
        found = asked.generate(prompts(image, 40), lambda done, total: seen.append((done, total)))
        asked.answer(prompts(image, 40), heard.update)
    assert found == answers(40) == [heard[index] for index in range(40)]
    assert list(heard) != sorted(heard)
    assert seen == [(done, 40) for done in range(1, 41)]
    assert server.most_at_once == 5


def test_what_is_sent(image: Path) -> None:
    style = PromptStyle(layout="turns", question="{question}", system="be short")
    with FakeServer() as server:
        asked = Prompt((Shot(image, "which?", "red"),), image, "and this?")
        backend(server.endpoint(extra_body={"top_k": 1}), style=style).generate([asked])
    (body,) = server.bodies
    turns = body.pop("messages")
    url = turns[1]["content"][0]["image_url"]["url"]
    assert url.startswith("data:image/jpeg;base64,")
    assert turns == [
        {"role": "system", "content": "be short"},
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "which?"}],
        },
        {"role": "assistant", "content": [{"type": "text", "text": "red"}]},
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "and this?"}],
        },
    ]
    assert body == {
        "model": "m",
        "temperature": 0,
        "max_tokens": 4,
        "seed": 0,
        "frequency_penalty": 0,
        "presence_penalty": 0,
        "repetition_penalty": 1.0,
        "min_tokens": 0,
        "top_k": 1,
    }


@pytest.mark.parametrize(
    ("first", "least"),
    [
        ([as_json({"error": "wait"}, 429, Retry_After="1")], 1.0),
        ([as_json({"error": "oops"}, 500), as_json({"error": "oops"}, 503)], 0.375 + 0.75),
        ([as_json({"error": "busy"}, 409), as_json({"error": "slow"}, 408)], 0.375 + 0.75),
        ([Answered(None)], 0.375),
    ],
    ids=["429 with Retry-After", "500 and 503", "409 and 408", "connection dropped"],
)
def test_a_server_that_stumbles_is_asked_again_after_a_pause(
    first: list[Answered], least: float, image: Path
) -> None:
    with FakeServer(lambda body, n: first[n - 1] if n <= len(first) else echo(body, n)) as server:
        began = time.monotonic()
        assert backend(server.endpoint(retries=len(first))).generate(prompts(image, 1)) == answers(1)
        assert least <= time.monotonic() - began < least + 2
    assert len(server.bodies) == len(first) + 1


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (as_json({"error": {"message": "The model `m` does not exist."}}, 404), r"404 \(The model `m` does not"),
        (as_json({"detail": "Server is pinned to 'x'"}, 400), r"400 \(Server is pinned to 'x'\)"),
        (as_json({"object": "error", "message": "too long"}, 400), r"400 \(too long\)"),
        (Answered(b"<html>nothing here</html>", 403), r"403 \(<html>nothing here</html>\); name api_key_env"),
        (Answered(b"", 302, {"Location": "http://127.0.0.1:1/elsewhere"}), r"answered 302"),
        (Answered(b"{not json"), "did not answer as a chat server does"),
        (Answered(b"<html></html>", headers={"Content-Type": "text/html"}), "did not answer as a chat server"),
        (as_json({"choices": []}), "choices: List should have at least 1 item"),
        (as_json([1, 2]), "did not answer as a chat server does"),
        (as_json({"choices": [{"message": {"content": 7}}]}), r"choices\.0\.message\.content"),
        (said(None, finish_reason="length"), r"gave no text \(finish_reason length\)"),
    ],
)
def test_what_no_second_try_mends_is_one_sentence(reply: Answered, sentence: str, image: Path) -> None:
    with FakeServer(lambda body, n: reply) as server, pytest.raises(UserError, match=sentence) as caught:
        backend(server.endpoint(retries=5)).generate(prompts(image, 1))
    assert len(server.bodies) == 1
    told = str(caught.value)
    assert f"{server.endpoint().url} (model m) " in told
    assert "\n" not in told
    assert told.endswith(".")


def test_an_answer_that_ended_at_once_is_empty(image: Path) -> None:
    with FakeServer(lambda body, n: said(None)) as server:
        assert backend(server.endpoint()).generate(prompts(image, 1)) == [""]


def test_a_server_that_keeps_failing_is_given_up(image: Path) -> None:
    with (
        FakeServer(lambda body, n: as_json({"error": {"message": "CUDA out of memory"}}, 500)) as server,
        pytest.raises(UserError, match=r"answered 500 \(CUDA out of memory\); look at the server"),
    ):
        backend(server.endpoint(retries=1)).generate(prompts(image, 1))
    assert len(server.bodies) == 2


def test_nobody_there_is_one_sentence(image: Path) -> None:
    with FakeServer() as server:
        endpoint = server.endpoint(retries=1)
    with pytest.raises(UserError, match=r"cannot be reached \(.*connection.*\); start the server or fix the url"):
        backend(endpoint).generate(prompts(image, 1))


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        ({"timeout_seconds": 0.2, "retries": 1}, r"was silent for 0\.2 s in each of 2 tries"),
        ({"give_up_seconds": 0.3}, r"gave no answer in 0\.3 s"),
    ],
)
def test_waiting_ends(limits: dict[str, Any], sentence: str, image: Path) -> None:
    with FakeServer(slowly(20)) as server:
        with pytest.raises(UserError, match=sentence):
            backend(server.endpoint(**limits)).generate(prompts(image, 1))
        assert server.at_once >= 1  # it has not answered yet


@pytest.mark.parametrize("status", [200, 500])
def test_a_huge_reply_is_not_read_to_its_end(status: int, image: Path) -> None:
    huge = Answered(b" " * (40 << 20), status)
    with FakeServer(lambda body, n: huge) as server, pytest.raises(UserError, match="more than 32 MiB"):
        backend(server.endpoint(retries=3)).generate(prompts(image, 1))
    assert len(server.bodies) == 1


def test_a_compressed_reply_is_refused(image: Path) -> None:
    bomb = Answered(b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
    with FakeServer(lambda body, n: bomb) as server, pytest.raises(UserError, match="compresses its replies"):
        backend(server.endpoint()).generate(prompts(image, 1))


def test_a_server_that_dies_loses_what_was_in_flight_and_nothing_else(image: Path, tmp_path: Path) -> None:
    def dying(body: Json, number: int) -> Answered:
        return echo(body, number) if number <= 25 else Answered(None)

    asked = prompts(image, 60)
    with AnswerStore(tmp_path / "answers.sqlite") as store:
        with FakeServer(dying) as server, pytest.raises(UserError, match="cannot be reached"):
            CachedBackend(backend(server.endpoint(retries=0, concurrency=4)), store).generate(asked)
        kept = len(store)
        assert 25 - 4 < kept <= 25
        with FakeServer() as server:  # at another address
            again = CachedBackend(backend(server.endpoint()), store)
            assert again.generate(asked) == answers(60)
        assert len(server.bodies) == again.asked == 60 - kept


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_is_heard_wherever_the_event_loop_is(sent: signal.Signals, image: Path) -> None:
    """asyncio logs what Dagster's handler raises in a callback, and goes on."""
    known: dict[int, str] = {}

    def interrupted(some: Mapping[int, str]) -> None:
        if not known:
            asyncio.get_running_loop().call_soon(signal.raise_signal, sent)
        known.update(some)

    with FakeServer(slowly(0.05, echo)) as server:
        asking = backend(server.endpoint(concurrency=4))
        with capture_interrupts(), raise_execution_interrupts():  # as a step is
            mine = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
            with pytest.raises(DagsterExecutionInterruptedError):
                asking.answer(prompts(image, 40), interrupted)
            assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == mine
        assert 1 <= len(known) <= len(server.bodies) <= 12  # what came before is kept, the rest is not asked for


def test_a_killed_run_asks_again_for_what_was_in_flight_only(image: Path, tmp_path: Path) -> None:
    with FakeServer(slowly(0.02)) as server:
        endpoint = server.endpoint(concurrency=3, retries=0).model_dump_json()
        command = program("ask_endpoint", str(tmp_path / "a.sqlite"), endpoint, str(image))
        killed = subprocess.Popen(command)
        while len(server.bodies) < 40:
            assert killed.poll() is None
            time.sleep(0.005)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        before = len(server.bodies)
        assert before < 200
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "200\n"
    times = Counter(question(body) for body in server.bodies)
    assert len(times) == 200
    assert sum(count - 1 for count in times.values()) <= 3


def test_the_key_goes_to_the_server_and_nowhere_else(
    image: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("MY_KEY", KEY)
    strangers = ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID")
    for name in strangers:
        monkeypatch.setenv(name, "for-another-company")

    def telling(body: Json, number: int) -> Answered:
        return as_json({"error": {"message": f"{server.headers[-1]['authorization']} is not allowed"}}, 401)

    with FakeServer() as server, AnswerStore(tmp_path / "answers.sqlite") as store:
        endpoint = server.endpoint(api_key_env="MY_KEY", revision=None)
        CachedBackend(backend(endpoint), store).generate(prompts(image, 1))
        backend(server.endpoint()).generate(prompts(image, 1))
        server.reply = telling
        with pytest.raises(
            UserError, match=r"401 \(Bearer \*\*\* is not allowed\); fix the key in MY_KEY"
        ) as caught:
            backend(endpoint).generate(prompts(image, 1))
    authorizations = [headers["authorization"] for headers in server.headers]
    assert [sent for sent, _ in groupby(authorizations)] == [f"Bearer {KEY}", "Bearer none", f"Bearer {KEY}"]
    assert "for-another-company" not in json.dumps(server.headers)
    shown = [str(caught.value), repr(caught.value.__cause__), caplog.text, repr(endpoint), str(endpoint.identity)]
    assert KEY not in "".join(shown)
    assert not any(KEY.encode() in path.read_bytes() for path in tmp_path.iterdir())
    monkeypatch.delenv("MY_KEY")
    with pytest.raises(UserError, match=r"the environment variable MY_KEY holds no key for http"):
        backend(endpoint)


@pytest.mark.parametrize("code", ["base64", "inside", "percent", "unicode", "hex", "lines"])
def test_a_key_that_a_server_writes_in_a_code_is_not_shown(
    code: str, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = KEY.encode()
    written = {
        "base64": base64.b64encode(raw).decode(),
        "inside": base64.urlsafe_b64encode(b"user:" + raw + b"!").decode(),
        "percent": "".join(f"%{byte:02x}" for byte in raw),
        "unicode": "".join(f"\\u{byte:04x}" for byte in raw),
        "hex": raw.hex().upper(),
        "lines": f"{KEY[:4]}\n {KEY[4:]}",
    }[code]
    monkeypatch.setenv("MY_KEY", KEY)
    replies = {401: as_json({"error": {"message": f"no: {written}"}}, 401), 200: said(f"a {written}")}
    for status, reply in replies.items():
        with FakeServer(lambda body, n, reply=reply: reply) as server:
            try:
                shown = backend(server.endpoint(api_key_env="MY_KEY", retries=0)).generate(prompts(image, 1))[0]
            except UserError as error:
                shown = str(error)
        assert "***" in shown and written not in shown and written[3:-3] not in shown, status


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "kl\u00e9", "\udcff", "x" * 5000])
def test_what_can_be_no_key_is_refused_unshown(key: str, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.environ", {**os.environ, "MY_KEY": key})
    with FakeServer() as server, pytest.raises(UserError, match="MY_KEY holds no key: ") as refused:
        backend(server.endpoint(api_key_env="MY_KEY")).generate(prompts(image, 1))
    assert key not in str(refused.value)


def _models(root: str) -> Answered:
    return as_json({"data": [{"id": "other", "root": "x"}, {"id": "m", "root": root}]})


def test_an_answer_is_known_by_the_model_not_by_its_address(image: Path, tmp_path: Path) -> None:
    def is_new(models: Answered | None = None, generation: Generation = GREEDY, **fields: Any) -> bool:
        with FakeServer(models=models) as server:
            fields = {"concurrency": 1 + len(os.listdir(tmp_path)), "revision": None, **fields}  # noqa: PTH208
            stored = CachedBackend(backend(server.endpoint(**fields), generation), store)
            stored.generate(prompts(image, 1))
            return stored.asked == 1

    with AnswerStore(tmp_path / "answers.sqlite") as store:
        assert is_new(_models("Qwen/A"))
        assert not is_new(_models("Qwen/A"))
        assert is_new(_models("Qwen/B"))  # other weights behind an old name
        assert is_new()  # a server that does not say
        assert not is_new(as_json({"error": "no such page"}, 404))
        assert is_new(_models("Qwen/A"), weights_digest="abc")
        assert not is_new(_models("Qwen/B"), weights_digest="abc")  # a pin is trusted
        assert is_new(weights_digest="abc", revision="main")
        assert is_new(_models("Qwen/A"), model="other")
        assert is_new(_models("Qwen/A"), extra_body={"mm_processor_kwargs": {"max_pixels": 1}})
        assert is_new(_models("Qwen/A"), server="sglang")
        assert is_new(_models("Qwen/A"), Generation(num_beams=1, max_new_tokens=3))


def test_a_broken_image_is_named_before_anything_is_sent(image: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(image.read_bytes()[:200])
    with FakeServer() as server, pytest.raises(UserError, match=r"broken\.jpg cannot be read"):
        backend(server.endpoint()).generate(prompts(broken, 1))
    assert server.bodies == []


def test_a_server_without_likelihoods_says_who_needs_them(image: Path) -> None:
    with FakeServer() as server, pytest.raises(UserError, match=r"beam_data, .*oracle.*import a v2 checkpoint"):
        backend(server.endpoint()).answer_likelihoods(prompts(image, 1), ["red"])
    assert server.bodies == []
