"""An endpoint as users write it, and what each kind of server is asked for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from icd_assets.errors import UserError
from icd_assets.vlm.backend import Generation
from icd_assets.vlm.endpoint import Endpoint


def endpoint(**fields: Any) -> Endpoint:
    return Endpoint(**{"url": "http://host:8000/v1", "model": "m", "server": "openai", **fields})


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"url": "ftp://host/v1"}, "must be http"),
        ({"url": "host:8000"}, "must be http"),
        ({"url": "file:///etc/passwd"}, "must be http"),
        ({"url": "http:///v1"}, "must be http"),
        ({"url": "http://me:hunter2@host/v1"}, "must hold no user"),
        ({"url": "http://host/v1?key=hunter2"}, "must hold no user"),
        ({"api_key_env": "sk-hunter2"}, "should match pattern"),
        ({"server": "ollama"}, "'vllm', 'sglang', 'transformers' or 'openai'"),
        ({"concurrency": 0}, "greater than or equal to 1"),
        ({"timeout_seconds": 0}, "greater than 0"),
        ({"retries": -1}, "greater than or equal to 0"),
        ({"extra_body": {"temperature": 1}}, "sets temperature, which the model's generation decides"),
        ({"extra_body": {"n": 2}}, "sets n, which"),
        ({"token": "x"}, "Extra inputs are not permitted"),
    ],
)
def test_a_mistake_is_told_without_its_value(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        endpoint(**fields)
    (error,) = caught.value.errors()
    assert sentence in error["msg"]
    assert "hunter2" not in error["msg"]


def test_what_a_model_is_does_not_depend_on_where_it_is_served() -> None:
    here = endpoint(revision="abc")
    there = endpoint(
        url="https://elsewhere/v1/", revision="abc", api_key_env="KEY", concurrency=3, timeout_seconds=1, retries=0
    )
    assert there.url == "https://elsewhere/v1"
    assert here.digest == there.digest
    others = [
        {"model": "n"},
        {"revision": "d"},
        {"weights_digest": "e"},
        {"server": "vllm"},
        {"extra_body": {"x": 1}},
    ]
    assert len({endpoint(**{"revision": "abc", **other}).digest for other in [{}, *others]}) == 6


BEAMS = Generation(max_new_tokens=5, num_beams=3, length_penalty=0.0)
LONG = Generation(max_new_tokens=5, num_beams=1, min_new_tokens=2)


def test_beams_of_vllm() -> None:
    assert endpoint(server="vllm").decoding(BEAMS) == {
        "max_tokens": 5,
        "seed": 0,
        "temperature": 0,
        "frequency_penalty": 0,
        "presence_penalty": 0,
        "use_beam_search": True,
        "n": 3,
        "length_penalty": 0.0,
    }


def test_transformers_serve_hears_a_whole_generation_config() -> None:
    generation = Generation(max_new_tokens=5, num_beams=2, min_new_tokens=2, length_penalty=1.5)
    body = endpoint(server="transformers").decoding(generation)
    assert json.loads(body.pop("generation_config")) == {
        "do_sample": False,
        "num_beams": 2,
        "max_new_tokens": 5,
        "min_new_tokens": 2,
        "length_penalty": 1.5,
        "repetition_penalty": 1.0,
        "no_repeat_ngram_size": 0,
    }
    assert body == {"max_tokens": 5, "seed": 0}


@pytest.mark.parametrize("server", ["vllm", "sglang"])
def test_a_shortest_answer(server: str) -> None:
    assert endpoint(server=server).decoding(LONG)["min_tokens"] == 2


@pytest.mark.parametrize(
    ("server", "generation", "setting"),
    [
        ("openai", BEAMS, "num_beams: 1"),
        ("sglang", BEAMS, "num_beams: 1"),
        ("openai", LONG, "min_new_tokens: 0"),
        ("vllm", BEAMS.model_copy(update={"length_penalty": 1.0}), "length_penalty: 0"),
        ("vllm", BEAMS.model_copy(update={"min_new_tokens": 2}), "min_new_tokens: 0"),
    ],
)
def test_what_a_server_cannot_do_is_refused(server: str, generation: Generation, setting: str) -> None:
    with pytest.raises(
        UserError, match=rf"^model m: a server of kind {server} cannot .* set generation {setting}"
    ):
        endpoint(server=server).decoding(generation)
