"""Likelihoods from a server that computes prompt_logprobs as vLLM reports them, with the tiny model's weights."""

from __future__ import annotations

import base64
import functools
import io
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText

from icd_assets.errors import UserError
from icd_assets.vlm.backend import Generation
from icd_assets.vlm.endpoint_backend import EndpointBackend
from icd_assets.vlm.processor import load_processor
from icd_assets.vlm.prompts import Prompt, PromptStyle, Shot
from icd_assets.vlm.transformers_backend import TransformersBackend
from icd_assets_tests.worlds.fake_server import Answered, FakeServer, Json, as_json, said
from icd_assets_tests.worlds.tiny import tiny_vl, write_images

STYLES = {
    "turns": PromptStyle(layout="turns", question="{question}"),
    "interleaved": PromptStyle(system="answer the question"),
}
GREEDY = Generation(num_beams=1)
ANSWERS = ["buzz", "red dog", "xyzzy 17", "dog"]


class Vllm:
    """The fields of vLLM's chat completions that scoring uses, computed by transformers."""

    def __init__(self, folder: Path) -> None:
        self.model = AutoModelForImageTextToText.from_pretrained(folder).eval()
        self.processor = load_processor(folder)

    def __call__(self, body: Json, number: int) -> Answered:
        assert body["max_tokens"] == 1
        pictures: list[Image.Image] = []
        text = self.processor.apply_chat_template(
            [self._message(message, pictures) for message in body["messages"]],
            tokenize=False,
            add_generation_prompt=body.get("add_generation_prompt", True),
            continue_final_message=body.get("continue_final_message", False),
        )
        inputs = self.processor(text=[text], images=pictures, return_tensors="pt")
        ids = inputs["input_ids"][0].tolist()
        more: Json = {"prompt_token_ids": ids} if body.get("return_token_ids") else {}
        if body.get("prompt_logprobs") is not None:
            more["prompt_logprobs"] = self._logprobs(inputs, ids, body["prompt_logprobs"])
        choice = {"message": {"role": "assistant", "content": "x"}, "finish_reason": "length"}
        return as_json({"choices": [choice], **more})

    def _message(self, message: Json, pictures: list[Image.Image]) -> Json:
        if isinstance(message["content"], str):
            return message
        parts = []
        for part in message["content"]:
            if part["type"] == "image_url":
                content = base64.b64decode(part["image_url"]["url"].partition(",")[2])
                pictures.append(Image.open(io.BytesIO(content)).convert("RGB"))
                part = {"type": "image"}
            parts.append(part)
        return message | {"content": parts}

    @torch.no_grad()
    def _logprobs(self, inputs: Any, ids: list[int], count: int) -> list[Json | None]:
        table = self.model(**inputs).logits[0].log_softmax(-1)
        found: list[Json | None] = [None]
        for row, token in zip(table[:-1], ids[1:], strict=True):
            likeliest = row.topk(count).indices.tolist()
            found.append({str(id): {"logprob": float(row[id]), "rank": 1} for id in (token, *likeliest)})
        return found


@functools.cache
def vllm() -> Vllm:
    return Vllm(tiny_vl())


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Prompt], list[str]]:
    """Three queries with zero to two demonstrations, each scored for two answers."""
    images = write_images(tmp_path_factory.mktemp("images"), 6)
    rng = random.Random(0)
    prompts = [
        Prompt(
            tuple(Shot(rng.choice(images), "which shape is this?", rng.choice(ANSWERS)) for _ in range(shots)),
            images[query],
            f"what color is {query}?",
        )
        for query in range(3)
        for shots in (0, 1, 2)
    ]
    return [prompt for prompt in prompts for _ in range(2)], [ANSWERS[n % 2 + n // 10] for n in range(18)]


@pytest.mark.parametrize("layout", STYLES)
def test_a_likelihood_is_that_of_the_model_here(layout: str, asked: tuple[list[Prompt], list[str]]) -> None:
    prompts, answers = asked
    here = TransformersBackend.load(str(tiny_vl()), digest="", style=STYLES[layout], generation=GREEDY)
    heard: dict[int, Any] = {}
    with FakeServer(vllm()) as server:
        endpoint = server.endpoint(likelihoods="vllm", concurrency=2)
        backend = EndpointBackend(endpoint, style=STYLES[layout], generation=GREEDY)
        backend.score(prompts, answers, heard.update)
        found = [heard[index] for index in range(18)]
        expected = here.answer_likelihoods(prompts, answers)
        assert [own.tokens for own in found] == [own.tokens for own in expected]
        assert [own.logprob for own in found] == pytest.approx([own.logprob for own in expected], abs=1e-4)
        queries = len({(prompt.question, answer) for prompt, answer in zip(prompts, answers, strict=True)})
        assert len(server.bodies) == 18 + 2 * queries  # an answer's tokens are measured once per query
        assert backend.answer_likelihoods(prompts[:3], answers[:3]) == found[:3]
        assert len(server.bodies) == 18 + 2 * queries + 3


def _reply(ids: list[int] | None, logprobs: Any) -> Answered:
    choice = {"message": {"content": ""}, "finish_reason": "length"}
    return as_json({"choices": [choice], "prompt_token_ids": ids, "prompt_logprobs": logprobs})


def _told(*logprobs: float) -> list[Json | None]:
    return [None, *({str(id + 2): {"logprob": value}} for id, value in enumerate(logprobs))]


@pytest.mark.parametrize(
    ("alone", "answered", "scored", "sentence"),
    [
        (None, [1, 2, 3], _reply([1, 2, 3], _told(-1, -1)), "does not tell the prompt's token ids"),
        ([1, 2], [1, 2], _reply([1, 2], _told(-1)), r"the answer 'red' to 'which\?' has no tokens"),
        ([1, 2, 3, 4], [1, 2, 9, 9], _reply([1, 2, 9, 9], _told(-1)), "elsewhere than where the model answers"),
        ([1, 2], [1, 2, 3], _reply([1, 2, 3], None), "gave 0 prompt_logprobs for 3 tokens"),
        ([1, 2], [1, 2, 3], _reply([1, 2, 3], _told(-1)), "gave 2 prompt_logprobs for 3 tokens"),
        ([1, 2], [1, 2, 3], _reply([1, 2, 8], _told(-1, -1)), r"the tokens \[8\], but the answer's are \[3\]"),
        ([1, 2], [1, 2, 3], _reply([1, 2, 3], [None, None, {"7": {"logprob": -1}}]), "leave out a token"),
        ([1, 2], [1, 2, 3], _reply([1, 2, 3], _told(-1, 0.5)), r"prompt_logprobs\.2\.3\.logprob"),
        ([1, 2], [1, 2, 3], _reply([1, 2, 3], _told(-1, float("nan"))), "prompt_logprobs"),
        ([1, 2], [1, 2, 3], said("no logprobs at all"), "does not tell the prompt's token ids"),
    ],
)
def test_a_server_that_scores_something_else_is_refused(
    alone: list[int] | None, answered: list[int], scored: Answered, sentence: str, tmp_path: Path
) -> None:
    replies = {1: _reply(alone, None), 2: _reply(answered, None), 3: scored}
    (image,) = write_images(tmp_path, 1, (8, 8))
    with FakeServer(lambda body, n: replies[n]) as server, pytest.raises(UserError, match=sentence):
        backend = EndpointBackend(server.endpoint(likelihoods="vllm"), style=PromptStyle(), generation=GREEDY)
        backend.answer_likelihoods([Prompt((), image, "which?")], ["red"])


def test_a_token_that_merges_across_the_boundary_belongs_to_the_answer(tmp_path: Path) -> None:
    """As in the transformers backend: the likelihood starts with the merged token."""
    replies = {1: _reply([1, 2], None), 2: _reply([1, 3, 4], None)}
    replies[3] = _reply([1, 3, 4], [None, {"3": {"logprob": -0.5}}, {"4": {"logprob": -1.5}, "2": {"logprob": 0}}])
    (image,) = write_images(tmp_path, 1, (8, 8))
    with FakeServer(lambda body, n: replies[n]) as server:
        backend = EndpointBackend(server.endpoint(likelihoods="vllm"), style=PromptStyle(), generation=GREEDY)
        (found,) = backend.answer_likelihoods([Prompt((), image, "which?")], ["red"])
    assert (found.logprob, found.tokens) == (-2.0, 2)
