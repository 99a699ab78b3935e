"""The selector in LangChain's own few-shot prompts."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.prompts import (
    ChatPromptTemplate,
    FewShotChatMessagePromptTemplate,
    FewShotPromptTemplate,
    PromptTemplate,
)

from icd_assets.errors import UserError
from icd_assets.selector.config import SelectorConfig
from icd_assets.selector.encoder import ClipEncoder
from icd_assets.selector.model import new_policy
from icd_assets.use.langchain import DemonstrationSelector
from icd_assets.use.selector import Selector
from icd_assets.vlm.prompts import Shot
from icd_assets_tests.worlds.tiny import tiny_clip, write_images

QUESTIONS = ("what shape is this", "which color", "the circle ?")


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    images = write_images(tmp_path_factory.mktemp("pictures"), 9)
    return [
        {
            "image": str(image),
            "question": QUESTIONS[at % 3],
            "answer": f"answer {at}",
            "picture": f"https://a.b/{at}",
        }
        for at, image in enumerate(images)
    ]


@pytest.fixture(scope="module")
def selector() -> Selector:
    policy = new_policy(SelectorConfig(embedding_dim=24, hidden_dim=16, architecture="v2"), 5).eval()
    return Selector(policy, ClipEncoder.load(str(tiny_clip())))


def expected(selector: Selector, examples: list[dict[str, str]]) -> list[dict[str, str]]:
    query, *offered = [Shot(Path(one["image"]), one["question"], one["answer"]) for one in examples]
    return [examples[1 + row] for row in selector.index(offered).select(query, 2)]


def test_a_few_shot_prompt_shows_what_the_selector_chooses(
    selector: Selector, examples: list[dict[str, str]]
) -> None:
    query, *offered = examples
    first, second = expected(selector, examples)
    prompt = FewShotPromptTemplate(
        example_selector=DemonstrationSelector(selector, offered),
        example_prompt=PromptTemplate.from_template("Q: {question} A: {answer}"),
        suffix="Q: {question} A:",
        input_variables=["image", "question"],
        example_separator="\n",
    )
    text = prompt.format(image=query["image"], question=query["question"])
    assert text.splitlines() == [
        *(f"Q: {one['question']} A: {one['answer']}" for one in (first, second)),
        f"Q: {query['question']} A:",
    ]


def test_a_chat_prompt_shows_pictures_too(selector: Selector, examples: list[dict[str, str]]) -> None:
    query, *offered = examples
    turn = [
        {"type": "image_url", "image_url": {"url": "{picture}"}},
        {"type": "text", "text": "{question}"},
    ]
    shown = FewShotChatMessagePromptTemplate(
        example_selector=DemonstrationSelector(selector, offered),
        example_prompt=ChatPromptTemplate.from_messages([("human", turn), ("ai", "{answer}")]),
        input_variables=["image", "question"],
    )
    messages = ChatPromptTemplate.from_messages([shown, ("human", turn)]).format_messages(**query)
    assert [type(one) for one in messages] == [HumanMessage, AIMessage] * 2 + [HumanMessage]
    urls = [one.content[0]["image_url"]["url"] for one in messages[::2]]  # type: ignore[index]
    assert urls == [*(one["picture"] for one in expected(selector, examples)), query["picture"]]


def test_examples_that_are_added_are_chosen_among(selector: Selector, examples: list[dict[str, str]]) -> None:
    query, *offered = examples
    grown = DemonstrationSelector(selector)
    with pytest.raises(UserError, match="2 demonstrations cannot be chosen from 0 rows"):
        grown.select_examples(query)
    for one in offered:
        grown.add_example(one)
    assert grown.select_examples(query) == expected(selector, examples)
    assert asyncio.run(grown.aselect_examples(query)) == expected(selector, examples)


@pytest.mark.parametrize("lacking", [{}, {"image": "a.png"}, {"image": None, "question": "what?"}])
def test_what_lacks_a_key_is_one_sentence(selector: Selector, lacking: dict[str, str]) -> None:
    with pytest.raises(UserError, match=r"has no (image|question); give a text\.$"):
        DemonstrationSelector(selector, [lacking])
    with pytest.raises(UserError, match=r"has no (image|question)"):
        DemonstrationSelector(selector).add_example(lacking)
