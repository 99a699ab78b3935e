"""Where the answers of VLMs are kept: what a store can do, and which one a run takes."""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from icd_assets.errors import UserError
from icd_assets.runtime.foreign import brief
from icd_assets.vlm.backend import Likelihood

VARIABLE = "ICD_ANSWERS"
Row = tuple[bytes, Any, Any, Any]  # key, text, logprob, tokens: a text, or a log-probability with its tokens


class Answers(ABC):
    """A store of answers by their keys (:mod:`icd_assets.vlm.cached_backend`).

    What was added is there for every process that asks later, and stays: a key's first answer is its answer.
    Raises ``UserError``, one sentence, if the store is damaged, foreign, or cannot be used.
    """

    name: str
    """What it is to the user, without any key or password."""

    @abstractmethod
    def add(self, answers: Mapping[bytes, str | Likelihood]) -> None:
        """Commit all of ``answers`` or none. An answer that another process stored first stays."""

    @abstractmethod
    def close(self) -> None: ...

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def pages(self) -> Iterator[list[Row]]:
        """All rows in the order of their keys, some thousands at a time; what is added meanwhile may be among
        them."""

    @abstractmethod
    def _found(self, keys: Sequence[bytes]) -> Iterable[Row]:
        """The rows of those keys that there are."""

    @abstractmethod
    def _damaged(self, what: str) -> UserError: ...

    def texts(self, keys: Sequence[bytes]) -> dict[bytes, str]:
        """The generated texts known under ``keys``."""
        return {key: self._checked_text(text) for key, text, _, _ in self._found(keys)}

    def likelihoods(self, keys: Sequence[bytes]) -> dict[bytes, Likelihood]:
        """The likelihoods known under ``keys``."""
        return {key: self._checked_likelihood(p, tokens) for key, _, p, tokens in self._found(keys)}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _checked_text(self, text: object) -> str:
        if not isinstance(text, str):
            raise self._damaged("an entry has no text")
        return text

    def _checked_likelihood(self, logprob: object, tokens: object) -> Likelihood:
        if not isinstance(logprob, float) or not math.isfinite(logprob) or logprob > 0:
            raise self._damaged(f"an entry has log-probability {brief(logprob)}")
        if not isinstance(tokens, int) or tokens < 1:
            raise self._damaged(f"an entry has {brief(tokens)} tokens")
        return Likelihood(logprob, tokens)


def rows_of(answers: Mapping[bytes, str | Likelihood]) -> list[Row]:
    return [
        (key, answer, None, None) if isinstance(answer, str) else (key, None, answer.logprob, answer.tokens)
        for key, answer in answers.items()
    ]


def shared_database() -> str | None:
    """The address of the PostgreSQL database that ``ICD_ANSWERS`` names, if it does."""
    return os.environ.get("ICD_ANSWERS", "").strip() or None


def there_are(path: Path) -> bool:
    """Whether there is a store to open, without making one."""
    return shared_database() is not None or path.is_file()


def open_answers(path: Path) -> Answers:
    """The store that a run reads and writes: the database that ``ICD_ANSWERS`` names, else the file ``path``."""
    if (url := shared_database()) is not None:
        from icd_assets.vlm.postgres_answers import PostgresAnswers

        return PostgresAnswers(url)
    from icd_assets.vlm.answer_store import AnswerStore

    return AnswerStore(path)
