"""A prompt as the model's own chat template writes it, checked once: templates leave out what they do not know.

Idefics3's drops a system message that is a plain text, LLaVA-OneVision's moves all images of a message to its
front, others refuse a system message. A prompt that lost a part would be answered all the same.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from icd_assets.errors import UserError
from icd_assets.vlm.prompts import Prompt, PromptStyle, Shot, messages

_log = logging.getLogger(__name__)

# Words that no template holds, in the order in which a reader meets them.
_PROBE = Prompt(
    (Shot(Path("1"), "zqfirst", "zafirst"), Shot(Path("2"), "zqsecond", "zasecond")), Path("3"), "zqlast"
)
_WORDS = ("zqfirst", "zafirst", "zqsecond", "zasecond", "zqlast")


class Chat:
    """Renders prompts in one style; raises ``UserError`` at once if the template cannot show such prompts."""

    def __init__(self, processor: Any, style: PromptStyle) -> None:
        self._tokenizer = processor.tokenizer
        self._template = processor.chat_template
        self._image_token = str(processor.image_token)
        self._style = style
        self._check()

    def text(self, prompt: Prompt) -> str:
        """The template's text, up to where the model's answer begins; every image is one placeholder."""
        # The tokenizer's renderer is the processor's without its copying of messages: a third of the time.
        text: str = self._tokenizer.apply_chat_template(
            [_as_parts(message) for message in messages(prompt, self._style)],
            chat_template=self._template,
            add_generation_prompt=True,
            tokenize=False,
        )
        if text.count(self._image_token) != len(prompt.images):
            raise UserError(
                f"the prompt of question_id {prompt.question_id} holds the image token {self._image_token} of the "
                f"model in a text, its own or that of a demonstration (question_id "
                f"{', '.join(str(shot.question_id) for shot in prompt.shots)}); remove it from the question or "
                "answer."
            )
        return text

    def _check(self) -> None:
        try:
            text = self.text(_PROBE)
        except TemplateError as error:
            raise UserError(
                f"the model's chat template refuses layout {self._style.layout!r}"
                f"{' with a system message' if self._style.system else ''} ({error}); change the model's prompt."
            ) from None
        except UserError:
            raise UserError(
                f"the model's chat template does not show one {self._image_token} per image; "
                "take a model whose template knows images."
            ) from None
        if self._style.system and self._style.system.strip() not in text:
            raise UserError("the model's chat template leaves out the system message; unset prompt.system.")
        at = [text.find(word) for word in _WORDS]
        if -1 in at or at != sorted(at):
            raise UserError(
                f"the model's chat template leaves out or reorders texts of layout {self._style.layout!r}; "
                "change the model's prompt.layout."
            )
        second = text.find(self._image_token, text.find(self._image_token) + 1)
        if second < at[0]:
            _log.warning(
                "the model's chat template puts all images of a message before its texts; "
                "prompt.layout 'turns' keeps each image beside its question"
            )


def _as_parts(message: dict[str, Any]) -> dict[str, Any]:
    """Content as a list of parts, which every family's template reads; a plain text only some do."""
    content = message["content"]
    return message | {"content": [{"type": "text", "text": content}]} if isinstance(content, str) else message
