"""The prompt with the chosen demonstrations, as chat messages for whoever answers it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from icd_assets.use.selector import Demonstration, Example
from icd_assets.vlm.data_url import with_urls
from icd_assets.vlm.prompts import Message, Prompt, PromptStyle, Shot, messages


def chat(
    query: Example,
    demonstrations: Sequence[Demonstration],
    *,
    style: PromptStyle | None = None,
    form: Literal["transformers", "openai"] = "transformers",
) -> list[Message]:
    """Messages that show ``demonstrations``, in their order, and then ask ``query``.

    >>> text = processor.apply_chat_template(chat(query, shown), tokenize=True, add_generation_prompt=True, …)
    >>> client.chat.completions.create(model=…, messages=chat(query, shown, form="openai"))

    form: ``transformers`` has pictures as paths, for ``apply_chat_template``; ``openai`` as data URLs, for an
    OpenAI client and for vLLM's ``LLM.chat``. style: the wording, by default Lever-Plus'; that of a model of the
    catalog is ``open_cell(…).model.prompt``.
    """
    shown = tuple(Shot(Path(one.image), one.question, one.answer) for one in demonstrations)
    prompt = Prompt(shown, Path(query.image), query.question)
    found = messages(prompt, style or PromptStyle())
    return found if form == "transformers" else [with_urls(message) for message in found]
