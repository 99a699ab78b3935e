"""A refusal of one prompt names the question, the demonstration and the file; the others go on if asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from PIL import Image

from icd_assets.errors import UserError
from icd_assets.vlm.backend import Generation, Refused
from icd_assets.vlm.cached_backend import AnswerStore, CachedBackend
from icd_assets.vlm.endpoint_backend import EndpointBackend
from icd_assets.vlm.prompts import Prompt, PromptStyle, Shot
from icd_assets.vlm.transformers_backend import TransformersBackend
from icd_assets_tests.worlds.fake_server import Answered, FakeServer, Json, as_json, echo, question, said
from icd_assets_tests.worlds.tiny import tiny_vl

GREEDY = Generation(num_beams=1, max_new_tokens=4)
REASON = "height:5 or width:900 must be larger than factor:28"


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.jpg" for number in range(3)]
    for path in paths:
        Image.effect_noise((32, 32), 50).convert("RGB").save(path)
    return paths


def prompts(pictures: Sequence[Path], count: int = 10) -> list[Prompt]:
    """Two demonstrations each."""
    shots = (Shot(pictures[0], "which?", "red", 11), Shot(pictures[1], "what?", "blue", 12))
    return [Prompt(shots, pictures[2], f"question {number}", number) for number in range(100, 100 + count)]


def refusing(*numbers: int, status: int = 400) -> Callable[[Json, int], Answered]:
    def reply(body: Json, number: int) -> Answered:
        if any(question(body) == f"question {refused}" for refused in numbers):
            return as_json({"error": {"message": REASON}}, status)
        return echo(body, number)

    return reply


def served(server: FakeServer, **fields: float) -> EndpointBackend:
    return EndpointBackend(server.endpoint(**fields), style=PromptStyle(question="{question}"), generation=GREEDY)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_prompt_that_a_server_refuses_is_named(pictures: list[Path], status: int) -> None:
    with FakeServer(refusing(107, status=status)) as server, pytest.raises(UserError) as error:
        served(server).generate(prompts(pictures))
    sentence = str(error.value)
    assert f"the prompt of question_id 107 ({pictures[2]}, 32×32)" in sentence
    first, second = (f"question_id {11 + at} ({pictures[at]}, 32×32)" for at in (0, 1))
    assert f"after demonstrations 1: {first}, 2: {second} was refused" in sentence
    assert f"answered {status} ({REASON})" in sentence
    assert "skip_refused" in sentence


def test_the_others_go_on_if_asked_and_nothing_of_it_is_kept(pictures: list[Path], tmp_path: Path) -> None:
    with FakeServer(refusing(107)) as server, AnswerStore(tmp_path / "answers.sqlite") as store:
        backend = CachedBackend(served(server, skip_refused=0.1), store)
        found = backend.generate(prompts(pictures))
        assert (found[7], isinstance(found[7], Refused)) == ("", True)
        assert found[6] == "question 106 indeed"
        assert len(store) == 9
        assert backend.counts == {"vlm_prompts_asked": 10, "vlm_prompts_reused": 0, "vlm_prompts_refused": 1}
        server.reply = echo
        assert backend.generate(prompts(pictures))[7] == "question 107 indeed"


def test_more_refusals_than_the_share_end_the_run(pictures: list[Path]) -> None:
    with FakeServer(refusing(103, 105)) as server, pytest.raises(UserError) as error:
        served(server, skip_refused=0.1).generate(prompts(pictures))
    assert "2 of 10 are, more than skip_refused 0.1" in str(error.value)


@pytest.mark.parametrize("status", [401, 404, 500])
def test_what_is_not_about_the_prompt_names_none(pictures: list[Path], status: int) -> None:
    with FakeServer(refusing(100, status=status)) as server, pytest.raises(UserError) as error:
        served(server, retries=0, skip_refused=0.5).generate(prompts(pictures, 1))
    assert "question_id" not in str(error.value)


def test_a_server_that_ignores_max_tokens(pictures: list[Path]) -> None:
    with FakeServer(lambda body, number: said("word " * 20_000, finish_reason="length")) as server:
        asked = served(server)
        with pytest.raises(UserError, match=r"wrote 100,000 characters where max_tokens 4 .* ignores max_tokens"):
            asked.generate(prompts(pictures, 1))


# ---- in this process ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("feature_bytes", [0, 1 << 24])
def test_a_picture_that_the_processor_refuses_is_named(pictures: list[Path], feature_bytes: int) -> None:
    """Both ways of feeding pictures: kept features, and the whole processor for each batch."""
    backend = TransformersBackend.load(
        str(tiny_vl()), digest="x", style=PromptStyle(), generation=GREEDY, feature_bytes=feature_bytes
    )
    Image.new("RGB", (2500, 5)).save(pictures[1])
    with pytest.raises(UserError) as error:
        backend.generate(prompts(pictures, 2))
    place = "demonstration 2 (question_id 12) of the prompt of question_id 100"
    said = f"refuses picture {pictures[1]}, 2500×5, {place}: absolute aspect ratio must be smaller than 200"
    assert said in str(error.value)
    query = Prompt((), pictures[1], "which?", 7)
    with pytest.raises(UserError, match="the query of the prompt of question_id 7: absolute aspect ratio"):
        backend.answer_likelihoods([query], ["red"])
