"""The one prompt builder, for RL data and evaluation alike (SPEC G.4; O.2-17).

Deviations from upstream:
1. Tokens are replaced in a single pass, so a question that holds ``{answer}`` or braces stays as it is.
2. The "turns" layout (user: image, question; assistant: answer) exists beside upstream's single user message.
3. No part of the text counts the demonstrations; a system prompt is a setting, not code.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, assert_never

from pydantic import BaseModel, ConfigDict, Field, field_validator

Message = dict[str, Any]

_TOKENS = re.compile(r"\{question\}|\{answer\}")


class Item(Protocol):
    """What a prompt takes of a dataset's item."""

    @property
    def question_id(self) -> int | str: ...
    @property
    def image(self) -> Path: ...
    @property
    def question(self) -> str: ...
    @property
    def answer(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Shot:
    """One in-context demonstration."""

    image: Path
    question: str
    answer: str
    question_id: int | str | None = field(default=None, compare=False)  # for messages; no model reads it


@dataclass(frozen=True, slots=True)
class Prompt:
    """Demonstrations in the order in which the model reads them, then the query."""

    shots: tuple[Shot, ...]
    image: Path
    question: str
    question_id: int | str | None = field(default=None, compare=False)

    @classmethod
    def of(cls, query: Item, icds: Sequence[Item]) -> Prompt:
        """The prompt that asks ``query`` after the demonstrations ``icds``."""
        shots = tuple(Shot(icd.image, icd.question, icd.answer, icd.question_id) for icd in icds)
        return cls(shots, query.image, query.question, query.question_id)

    @property
    def order(self) -> tuple[tuple[str, str, str], ...]:
        """Prompts sorted by this stand beside those that begin as they do."""
        shots = [(str(shot.image), shot.question, shot.answer) for shot in self.shots]
        return (*shots, (str(self.image), self.question, ""))

    @property
    def images(self) -> tuple[Path, ...]:
        """Every image in reading order, the query's last."""
        return (*(shot.image for shot in self.shots), self.image)


class PromptStyle(BaseModel):
    """How a prompt is worded: the layout of turns and the texts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layout: Literal["interleaved", "turns"] = Field(
        "interleaved",
        description="'interleaved' puts all images and texts into one user message (Lever-Plus); "
        "'turns' makes every demonstration a user turn and an assistant turn.",
    )
    system: str | None = Field(None, description="System message before the first turn; none if empty.")
    question: str = Field(
        "Question:{question} Short answer:", description="Text of a question; must hold {question}."
    )
    answer: str = Field("{answer}", description="Text of a demonstration's answer; must hold {answer}.")

    @field_validator("question")
    @classmethod
    def _question_only(cls, text: str) -> str:
        if "{question}" not in text or "{answer}" in text:
            raise ValueError("must hold {question}, and not {answer}: the query would show its own answer")
        return text

    @field_validator("answer")
    @classmethod
    def _answer_token(cls, text: str) -> str:
        if "{answer}" not in text:
            raise ValueError("must hold {answer}")
        return text


def messages(prompt: Prompt, style: PromptStyle) -> list[Message]:
    """Chat-template messages; an image's content is ``{"type": "image", "image": <path>}``."""
    system = [{"role": "system", "content": style.system}] if style.system else []
    match style.layout:
        case "interleaved":
            return [*system, *_interleaved(prompt, style)]
        case "turns":
            return [*system, *_turns(prompt, style)]
        case other:
            assert_never(other)


def _interleaved(prompt: Prompt, style: PromptStyle) -> list[Message]:
    content = []
    for shot in prompt.shots:
        text = _filled(style.question + style.answer, shot.question, shot.answer)
        content += [_image(shot.image), _text(text)]
    content += [_image(prompt.image), _text(_filled(style.question, prompt.question))]
    return [{"role": "user", "content": content}]


def _turns(prompt: Prompt, style: PromptStyle) -> list[Message]:
    turns: list[Message] = []
    for shot in prompt.shots:
        question = _filled(style.question, shot.question)
        answer = _filled(style.answer, shot.question, shot.answer)
        turns.append({"role": "user", "content": [_image(shot.image), _text(question)]})
        turns.append({"role": "assistant", "content": [_text(answer)]})
    query = _filled(style.question, prompt.question)
    turns.append({"role": "user", "content": [_image(prompt.image), _text(query)]})
    return turns


def _filled(template: str, question: str, answer: str = "") -> str:
    values = {"{question}": question, "{answer}": answer}
    return _TOKENS.sub(lambda token: values[token[0]], template).strip()


def _image(path: Path) -> Message:
    return {"type": "image", "image": str(path)}


def _text(text: str) -> Message:
    return {"type": "text", "text": text}
