"""Which engine answers: declared, asked of the server, compared before the first prompt, kept for the record."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from icd_assets.errors import UserError
from icd_assets.runtime.finding import findings
from icd_assets.store.digests import DigestCache
from icd_assets.vlm import endpoint_client
from icd_assets.vlm.answer_store import AnswerStore
from icd_assets.vlm.backend import Generation
from icd_assets.vlm.backends.served import Served
from icd_assets.vlm.cached_backend import CachedBackend
from icd_assets.vlm.endpoint import Endpoint
from icd_assets.vlm.endpoint_backend import EndpointBackend
from icd_assets.vlm.prompts import Prompt, PromptStyle
from icd_assets_tests.worlds.fake_server import Answered, FakeServer, as_json
from icd_assets_tests.worlds.tiny import write_images

KEY = "sk-the-secret-9f2c"


@pytest.fixture(scope="module")
def prompt(tmp_path_factory: pytest.TempPathFactory) -> Prompt:
    return Prompt((), write_images(tmp_path_factory.mktemp("images"), 1, (8, 8))[0], "which?")


def endpoint(**fields: Any) -> Endpoint:
    return Endpoint(**{"url": "http://host:8000/v1", "model": "m", "server": "vllm", **fields})


def backend(of: Endpoint) -> EndpointBackend:
    return EndpointBackend(of, style=PromptStyle(question="{question}"), generation=Generation(num_beams=1))


def listing(**fields: Any) -> Answered:
    return as_json({"data": [{"id": "other", "owned_by": "x"}, {"id": "m", "root": "Org/m", **fields}]})


def vllm(version: Any, **options: Any) -> FakeServer:
    models = listing(owned_by="vllm", max_model_len=32768)
    return FakeServer(models=models, pages={"/version": as_json({"version": version})}, **options)


def sglang(deterministic: bool, page: str = "/server_info") -> FakeServer:
    info = {"version": "0.5.3", "enable_deterministic_inference": deterministic, "api_key": KEY}
    return FakeServer(models=listing(owned_by="sglang", max_model_len=8192), pages={page: as_json(info)})


def test_what_is_not_declared_changes_no_digest() -> None:
    """Answers and artifacts of before are known by these."""
    assert endpoint().digest == "e7c128a012491a760cbd54eaeaf3e48df252948de5aaae28b8a1898a8a535184"
    pinned = endpoint(revision="abc", extra_body={"top_k": 1})
    assert pinned.digest == "66871dc5b08442b5a13cf32a044caab4c2e4ca356c7823afdfdb8bab6f6fc8bc"
    assert set(endpoint().identity) == {"model", "server", "revision", "weights_digest", "extra_body"}


def test_what_is_declared_is_part_of_what_answers_are_known_by() -> None:
    declared = endpoint(engine="vLLM==0.11.0", deterministic=True)
    assert declared.identity == {**endpoint().identity, "engine": "vllm==0.11.0", "deterministic": True}
    others = [
        {},
        {"engine": "vllm==0.11.0"},
        {"engine": "vllm==0.11.1"},
        {"engine": "vllm-ascend==0.11.0"},
        {"deterministic": True},
        {"engine": "vllm==0.11.0", "deterministic": True},
    ]
    assert len({endpoint(**other).digest for other in others}) == len(others)


@pytest.mark.parametrize(
    "engine",
    ["vllm", "0.11.0", "vllm=0.11.0", "vllm==", "==1", "vllm==0.11 0", "vllm==0.\x1b[31m", "vllm==1\n", "v" * 80],
)
def test_an_engine_is_a_name_and_a_version(engine: str) -> None:
    with pytest.raises(ValidationError, match="should match pattern"):
        endpoint(engine=engine)
    with pytest.raises(ValidationError, match="should match pattern"):
        endpoint(engine=f"vllm=={'1' * 129}")


def environment(server: FakeServer, prompt: Prompt, /, **fields: Any) -> dict[str, str]:
    asked = backend(server.endpoint(**fields))
    assert asked.generate([prompt]) == ["which? indeed"]
    return dict(asked.environment)


@pytest.mark.parametrize("revision", [None, "abc"])
def test_what_the_server_says_is_kept_for_the_record(prompt: Prompt, revision: str | None) -> None:
    with vllm("0.11.0+cu129") as server:
        assert environment(server, prompt, revision=revision) == {
            "vlm_engine": "vllm==0.11.0+cu129",
            "vlm_max_model_len": "32768",
        }
    for page in ("/server_info", "/get_server_info"):
        with sglang(True, page) as server:
            assert environment(server, prompt, revision=revision, server="sglang") == {
                "vlm_engine": "sglang==0.5.3",
                "vlm_max_model_len": "8192",
                "vlm_deterministic": "true",
            }
    with FakeServer(models=listing(owned_by="llamacpp")) as server:
        assert environment(server, prompt, revision=revision, server="openai")["vlm_engine"] == "llama.cpp"
    with FakeServer(models=listing(owned_by="me")) as server:
        for kind in ("vllm", "sglang", "openai", "transformers"):
            found = environment(server, prompt, revision=revision, server=kind)
            assert found == {"vlm_engine": "unknown", "vlm_max_model_len": "unknown"}


def test_an_address_without_v1_has_no_page_beside_it(prompt: Prompt) -> None:
    with vllm("0.11.0") as server:
        url = server.endpoint().url.replace("/v1", "/models/llm")
        assert environment(server, prompt, url=url)["vlm_engine"] == "vllm"


@pytest.mark.parametrize("revision", [None, "abc"])
def test_another_engine_than_the_declared_is_asked_nothing(prompt: Prompt, revision: str | None) -> None:
    with vllm("0.12.0") as server:
        with pytest.raises(UserError) as refused:
            backend(server.endpoint(revision=revision, engine="vllm==0.11.0")).generate([prompt])
        assert str(refused.value) == (
            f"{server.endpoint().url} says that it runs vllm==0.12.0 for m, but the catalog declares "
            "vllm==0.11.0; serve that, or declare what is served (all is asked anew then)."
        )
        with pytest.raises(
            UserError, match=r"runs vllm==0\.12\.0 for m, but the catalog declares sglang==0\.12\.0"
        ):
            backend(server.endpoint(revision=revision, engine="sglang==0.12.0")).generate([prompt])
        assert server.bodies == []
        assert (
            environment(server, prompt, revision=revision, engine="vllm==0.12.0")["vlm_engine"] == "vllm==0.12.0"
        )
    with sglang(False) as server:
        fields = {"revision": revision, "server": "sglang", "deterministic": True}
        with pytest.raises(
            UserError, match=r"runs sglang==0\.5\.3 without determinism .* an engine with determinism;"
        ):
            backend(server.endpoint(**fields)).generate([prompt])
        assert server.bodies == []
    with FakeServer() as server:  # one that says nothing is trusted, as with other pins
        fields = {"revision": revision, "engine": "vllm==0.11.0", "deterministic": True}
        assert environment(server, prompt, **fields)["vlm_engine"] == "unknown"


@pytest.mark.parametrize("revision", [None, "abc"])
def test_servers_of_two_versions_are_asked_nothing(prompt: Prompt, revision: str | None) -> None:
    with vllm("0.11.0") as first, vllm("0.12.0") as second, FakeServer(models=listing()) as silent:
        urls = [server.endpoint().url for server in (silent, second)]
        with pytest.raises(UserError) as refused:
            backend(first.endpoint(replicas=urls, revision=revision)).generate([prompt])
        assert str(refused.value) == (
            f"{first.endpoint().url} runs vllm==0.11.0 for m, but {urls[1]} runs vllm==0.12.0; serve the model "
            "with the same engine and version everywhere."
        )
        assert first.bodies == second.bodies == silent.bodies == []
        both = backend(first.endpoint(replicas=urls[:1], revision=revision))
        both.generate([prompt])
        assert both.environment["vlm_engine"] == "unknown, vllm==0.11.0"


def test_a_server_that_is_back_is_looked_at_before_it_is_asked(
    prompt: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_: EndpointBackend) -> None:
        """At the first look."""

    monkeypatch.setattr(EndpointBackend, "_meet_all", away)
    with vllm("0.12.0") as server:
        with pytest.raises(UserError, match="but the catalog declares"):
            backend(server.endpoint(engine="vllm==0.11.0")).generate([prompt])
        assert server.bodies == []


def test_nobody_there_is_said_as_of_a_prompt(prompt: Prompt) -> None:
    with FakeServer() as server:
        gone = server.endpoint(retries=1)
    with pytest.raises(UserError, match=r"cannot be reached \(.*\); start the server or fix the url"):
        backend(gone).generate([prompt])


DEEP = b'{"version": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"


@pytest.mark.parametrize(
    "page",
    [
        as_json({"error": "?"}, 500),
        as_json({"error": "who are you"}, 401),
        as_json({"error": "later"}, 429),
        Answered(None),
        Answered(b'{"version": "0.11'),
        Answered(b"<html>a login</html>"),
        Answered(b"[1, 2]"),
        Answered(b"\xff\xfe{}"),
        Answered(b""),
        Answered(DEEP),
        Answered(json.dumps({"version": "1", "more": "x" * (2 << 20)}).encode()),
        Answered(b" " * (40 << 20)),
        Answered(b"\x1f\x8b", headers={"Content-Encoding": "gzip"}),
        Answered(b"", 302, {"Location": "http://127.0.0.1:1/elsewhere"}),
        as_json({"version": 11}),
        as_json({"version": None}),
        as_json({"version": "0.11\x1b[31mred"}),
        as_json({"version": "0.11\n"}),
        as_json({"version": "1" * 10_000}),
    ],
    ids=[
        *("500", "401", "429", "dropped", "truncated", "a web page", "a list", "no text", "empty", "deep", "long"),
        *("huge", "compressed", "redirect", "a number", "null", "escape codes", "line break", "long version"),
    ],
)
def test_a_page_that_is_none_hurts_nobody(page: Answered, prompt: Prompt) -> None:
    models = listing(owned_by=["vllm"], max_model_len=-1)
    with FakeServer(models=models, pages={"/version": page}) as server:
        found = environment(server, prompt, retries=0)
    assert found == {"vlm_engine": "unknown", "vlm_max_model_len": "unknown"}


@pytest.mark.parametrize(
    "models",
    [
        as_json({"data": [None, 1, {"id": "m", "owned_by": {}, "max_model_len": True}]}),
        as_json([]),
        Answered(b"{"),
    ],
)
def test_a_list_of_models_that_is_none_hurts_nobody(models: Answered, prompt: Prompt) -> None:
    """Of a pinned model: without a pin it has to be one."""
    with FakeServer(models=models) as server:
        assert set(environment(server, prompt).values()) == {"unknown"}


def test_a_silent_page_is_waited_for_once(prompt: Prompt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_client, "PAGE_SECONDS", 0.2)
    over, looked = threading.Event(), []

    class Silent(FakeServer):
        def answer(self, path: str, headers: dict[str, str], content: bytes) -> Answered:
            if path == "/version":
                looked.append(path)
                over.wait(20)
            return super().answer(path, headers, content)

    with Silent() as server:
        try:
            asked = backend(server.endpoint())
            assert asked.generate([prompt]) == asked.generate([prompt]) == ["which? indeed"]
        finally:
            over.set()
    assert len(looked) == 1


def test_a_servers_key_is_not_kept(prompt: Prompt) -> None:
    """SGLang shows its own among its settings."""
    with sglang(True) as server:
        asked = backend(server.endpoint(server="sglang"))
        asked.generate([prompt])
    assert KEY not in repr(asked._engines) + str(asked.environment)


def test_kept_answers_need_no_server_and_record_none(prompt: Prompt, tmp_path: Path) -> None:
    with AnswerStore(tmp_path / "answers.sqlite") as store:
        with vllm("0.11.0") as server:
            first = CachedBackend(backend(server.endpoint()), store)
            first.generate([prompt])
            gone = server.endpoint()
        assert first.environment["vlm_engine"] == "vllm==0.11.0"
        again = CachedBackend(backend(gone), store)
        assert again.generate([prompt]) == ["which? indeed"]
        assert again.environment == {}
        with vllm("0.11.0") as server:  # without a pin a server is looked at in any case
            for asked in (1, 0):
                unpinned = CachedBackend(backend(server.endpoint(revision=None)), store)
                unpinned.generate([prompt])
                assert (unpinned.asked, "vlm_engine" in unpinned.environment) == (asked, bool(asked))


def test_a_step_records_who_answered(prompt: Prompt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from icd_assets.assets import inputs
    from icd_assets.assets.step_run import StepRun
    from icd_assets.experiment.catalog_entries import ModelEntry
    from icd_assets.experiment.checks import texts

    monkeypatch.setattr(texts, "require_texts", lambda *_: None)
    with vllm("0.11.0") as server:
        model = ModelEntry.model_validate({"name": "m", "aliases": [], "endpoint": server.endpoint()})
        spec = SimpleNamespace(asset="rl_data", inputs={"vlm": SimpleNamespace(data_version="1")})
        store = SimpleNamespace(answers=tmp_path / "answers.sqlite", caches=tmp_path)
        experiment = SimpleNamespace(model=model, store=store)
        unused: dict[str, Any] = dict.fromkeys(("config", "on_progress", "note", "observe", "trackers"))
        run = StepRun(experiment=experiment, spec=spec, staging=tmp_path, device="cpu", **unused)  # type: ignore[arg-type]
        with inputs.open_vlm(run) as opened:
            assert run.environment == {}
            opened.generate([prompt])
    assert run.environment["vlm_engine"] == "vllm==0.11.0"


Checked = Callable[[Endpoint], list[tuple[str, str, str]]]


@pytest.fixture
def checked(tmp_path: Path) -> Checked:
    def check(of: Endpoint) -> list[tuple[str, str, str]]:
        served, digests = Served(endpoint=of), DigestCache(tmp_path / "digests.json")
        found = findings("model", lambda: served.check("m", PromptStyle(), digests))
        return [(one.level, one.found, one.todo) for one in found]

    return check


def test_the_check_shows_the_engine_and_suggests_to_declare_it(checked: Checked) -> None:
    with vllm("0.11.0") as server:
        url = server.endpoint().url
        (level, text, _), declare = checked(server.endpoint())
        assert (level, text) == ("ok", f"m: served at {url} as m, by vllm==0.11.0, max_model_len 32768")
        assert declare[0] == "ok" and declare[1] == "m: the endpoint may declare engine: vllm==0.11.0"
        assert len(checked(server.endpoint(engine="vllm==0.11.0"))) == 1
        wrong = checked(server.endpoint(engine="vllm==0.10.0"))
        assert wrong[-1][0] == "problem" and "but the catalog declares vllm==0.10.0" in wrong[-1][1]
        with vllm("0.12.0") as other:
            mixed = checked(server.endpoint(replicas=[other.endpoint().url]))
            assert mixed[-1][0] == "problem" and "runs vllm==0.12.0; serve the model with" in mixed[-1][1]
    with sglang(True) as server:
        assert checked(server.endpoint(server="sglang"))[1][1].endswith(
            "engine: sglang==0.5.3, deterministic: true"
        )
    with FakeServer(models=listing()) as server:
        assert [text for _, text, _ in checked(server.endpoint())] == [
            f"m: served at {server.endpoint().url} as m, by an engine that it does not name"
        ]
