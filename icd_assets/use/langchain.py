"""A trained selector as LangChain's example selector, for its few-shot prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from langchain_core.example_selectors import BaseExampleSelector

from icd_assets.errors import UserError
from icd_assets.use.selector import Selector
from icd_assets.vlm.prompts import Shot


class DemonstrationSelector(BaseExampleSelector):
    """Chooses among ``examples``, which are embedded once; each has at least the keys ``image`` and ``question``.

    >>> chosen = DemonstrationSelector(Selector.load(FOLDER), examples, shots=2)
    >>> prompt = FewShotPromptTemplate(example_selector=chosen, example_prompt=…, suffix=…, input_variables=[…])
    >>> prompt.format(image="cat.jpg", question="What does it eat?")

    Raises ``UserError`` where one of the keys is missing, and where fewer than ``shots`` examples are there.
    """

    def __init__(self, selector: Selector, examples: Sequence[Mapping[str, str]] = (), *, shots: int = 2) -> None:
        self._examples = [dict(example) for example in examples]
        self._shots = shots
        self._library = selector.index([_shot(example) for example in examples])

    def add_example(self, example: dict[str, str]) -> None:
        added = self._library.selector.embed([_shot(example)])
        self._library = self._library.selector.index(torch.cat([self._library.vectors, added]))
        self._examples.append(dict(example))

    def select_examples(self, input_variables: dict[str, str]) -> list[dict[str, Any]]:
        """The demonstrations for ``input_variables``, in prompt order."""
        rows = self._library.select(_shot(input_variables), self._shots)
        return [self._examples[row] for row in rows]


def _shot(given: Mapping[str, str]) -> Shot:
    for key in ("image", "question"):
        if not isinstance(given.get(key), str | Path):
            raise UserError(f"an example with the keys {', '.join(given) or 'none'} has no {key}; give a text.")
    return Shot(Path(given["image"]), str(given["question"]), "")
