from pathlib import Path

import pytest
from pydantic import ValidationError

from icd_assets.experiment.catalog import Catalog
from icd_assets.vlm.prompts import Prompt, PromptStyle, Shot, messages

DOG = Shot(Path("a.jpg"), "what is it?", "a dog")
PROMPT = Prompt((DOG,), Path("q.jpg"), "how many?")


def image(path: str) -> dict[str, str]:
    return {"type": "image", "image": path}


def text(content: str) -> dict[str, str]:
    return {"type": "text", "text": content}


def test_interleaved_is_one_user_message_of_images_and_texts() -> None:
    assert messages(PROMPT, PromptStyle(system="Be brief.")) == [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                image("a.jpg"),
                text("Question:what is it? Short answer:a dog"),
                image("q.jpg"),
                text("Question:how many? Short answer:"),
            ],
        },
    ]


def test_turns_alternate_user_and_assistant() -> None:
    assert messages(PROMPT, PromptStyle(layout="turns", question="{question}")) == [
        {"role": "user", "content": [image("a.jpg"), text("what is it?")]},
        {"role": "assistant", "content": [text("a dog")]},
        {"role": "user", "content": [image("q.jpg"), text("how many?")]},
    ]


def test_a_caption_query_shows_captions_and_asks_for_one() -> None:
    style = Catalog.load().prompted("Qwen2_5-VL-3B-Instruct", "caption").prompt
    prompt = Prompt((Shot(Path("a.jpg"), "", "a dog"),), Path("q.jpg"), "")
    (message,) = messages(prompt, style)
    assert message["content"] == [image("a.jpg"), text("Caption:a dog"), image("q.jpg"), text("Caption:")]
    *_, turn, answer, query = messages(prompt, style.model_copy(update={"layout": "turns"}))
    assert (turn["content"][1], answer["content"], query["content"][1]) == (
        text("Caption:"),
        [text("a dog")],
        text("Caption:"),
    )


def test_without_shots_only_the_query_is_asked() -> None:
    (message,) = messages(Prompt((), Path("q.jpg"), "why?"), PromptStyle())
    assert message["content"] == [image("q.jpg"), text("Question:why? Short answer:")]


def test_braces_and_tokens_inside_a_question_are_text() -> None:
    odd = "what is {answer} in {question} and {0} or {}?"
    shot = Shot(Path("a.jpg"), odd, "{question}")
    (message,) = messages(Prompt((shot,), Path("q.jpg"), odd), PromptStyle())
    assert message["content"][1] == text(f"Question:{odd} Short answer:{{question}}")
    assert message["content"][3] == text(f"Question:{odd} Short answer:")


def test_texts_are_stripped_at_the_ends_only() -> None:
    style = PromptStyle(layout="turns", question=" Q: {question} ")
    assert messages(Prompt((), Path("q.jpg"), "why  so? "), style)[0]["content"][1] == text("Q: why  so?")


@pytest.mark.parametrize(
    "fields",
    [{"question": "no token"}, {"question": "{question}{answer}"}, {"answer": ""}, {"layout": "chat"}, {"x": 1}],
)
def test_a_style_that_cannot_ask_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        PromptStyle.model_validate(fields)


def test_images_are_in_reading_order() -> None:
    assert PROMPT.images == (Path("a.jpg"), Path("q.jpg"))
