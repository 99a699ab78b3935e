"""A refusal of one prompt, in words that say which question and which picture it is about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from icd_assets.errors import UserError
from icd_assets.vlm.images import size_of
from icd_assets.vlm.prompts import Prompt

_LEAVE_OUT = "replace the picture, or leave its questions out of the split"


class PictureRefused(UserError):
    """The model's processor does not take a picture."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"the model's processor refuses picture {_sized(path)}: {reason}; {_LEAVE_OUT}.")
        self.path = path
        self.reason = reason


@contextmanager
def naming(prompts: Sequence[Prompt]) -> Iterator[None]:
    """A picture refused inside is named with the first of ``prompts`` that holds it, and its place there."""
    try:
        yield
    except PictureRefused as refused:
        for prompt in prompts:
            for number, shot in enumerate(prompt.shots, 1):
                if shot.image == refused.path:
                    place = f"demonstration {number} (question_id {shot.question_id}) of the prompt of"
                    raise _named(refused, f"{place} question_id {prompt.question_id}") from None
            if prompt.image == refused.path:
                raise _named(refused, f"the query of the prompt of question_id {prompt.question_id}") from None
        raise


def _named(refused: PictureRefused, place: str) -> UserError:
    return UserError(
        f"the model's processor refuses picture {_sized(refused.path)}, {place}: {refused.reason}; {_LEAVE_OUT}."
    )


def in_words(prompt: Prompt) -> str:
    """Which question a prompt asks after which demonstrations, with the size of every picture."""
    query = f"the prompt of question_id {prompt.question_id} ({_sized(prompt.image)})"
    if not prompt.shots:
        return query
    shots = ", ".join(
        f"{number}: question_id {shot.question_id} ({_sized(shot.image)})"
        for number, shot in enumerate(prompt.shots, 1)
    )
    return f"{query} after demonstrations {shots}"


def _sized(path: Path) -> str:
    size = size_of(path)
    return str(path) if size is None else f"{path}, {size[0]}×{size[1]}"
