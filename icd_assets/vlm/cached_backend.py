"""A backend that never asks for the same answer twice.

A key is the sha256 of everything that decides an answer: its kind, the backend's digest, the prompt's
messages with each image replaced by the sha256 of its bytes, and the decoding (or the answer that is scored).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from icd_assets.errors import UserError
from icd_assets.runtime.progress import OnProgress, ignore
from icd_assets.store.digests import sha256_file, sha256_json
from icd_assets.vlm.answer_store import AnswerStore
from icd_assets.vlm.backend import Answer, Backend, Generation, Likelihood, OnAnswers, ignore_answers
from icd_assets.vlm.lru import ByteLru
from icd_assets.vlm.prompts import Message, Prompt, PromptStyle, messages

__all__ = ["AnswerStore", "CachedBackend"]

Kind = Literal["generate", "likelihood"]

_KNOWN_IMAGES = 200_000


class CachedBackend:
    """A backend in front of which a store stands; implements :class:`icd_assets.vlm.backend.Backend`.

    Prompts are taken in chunks at fixed positions of the caller's list, and every batch that the backend hands
    over is committed as a whole at once: a killed run loses what was being computed, and its second try asks
    for the very same batches of the rest.

    ``asked`` counts the prompts that went to the model, ``reused`` those that did not have to.
    """

    def __init__(self, backend: Backend, store: AnswerStore, *, chunk: int = 256) -> None:
        if chunk < 1:
            raise ValueError(f"chunk {chunk} < 1")
        self.backend = backend
        self.store = store
        self.asked = 0
        self.reused = 0
        self._chunk = chunk
        self._images: ByteLru[tuple[str, int, int], str] = ByteLru(_KNOWN_IMAGES, lambda _: 1)

    @property
    def digest(self) -> str:
        return self.backend.digest

    @property
    def style(self) -> PromptStyle:
        return self.backend.style

    @property
    def generation(self) -> Generation:
        return self.backend.generation

    def generate(
        self,
        prompts: Sequence[Prompt],
        on_progress: OnProgress = ignore,
        on_answers: OnAnswers[str] = ignore_answers,
    ) -> list[str]:
        decoding = self.generation.model_dump(mode="json")

        def ask(missing: Sequence[int], on_done: OnProgress, keep: OnAnswers[str]) -> list[str]:
            return self.backend.generate([prompts[index] for index in missing], on_done, keep)

        return self._answered(
            len(prompts),
            lambda index: self._key("generate", prompts[index], decoding),
            self.store.texts,
            ask,
            on_progress,
            on_answers,
        )

    def answer_likelihoods(
        self,
        prompts: Sequence[Prompt],
        answers: Sequence[str],
        on_progress: OnProgress = ignore,
        on_answers: OnAnswers[Likelihood] = ignore_answers,
    ) -> list[Likelihood]:
        if len(prompts) != len(answers):
            raise ValueError(f"{len(prompts)} prompts but {len(answers)} answers")

        def ask(missing: Sequence[int], on_done: OnProgress, keep: OnAnswers[Likelihood]) -> list[Likelihood]:
            chosen = [prompts[index] for index in missing]
            return self.backend.answer_likelihoods(chosen, [answers[index] for index in missing], on_done, keep)

        return self._answered(
            len(prompts),
            lambda index: self._key("likelihood", prompts[index], answers[index]),
            self.store.likelihoods,
            ask,
            on_progress,
            on_answers,
        )

    def _answered(
        self,
        total: int,
        key_of: Callable[[int], bytes],
        look_up: Callable[[Sequence[bytes]], dict[bytes, Answer]],
        ask: Callable[[Sequence[int], OnProgress, OnAnswers[Answer]], list[Answer]],
        on_progress: OnProgress,
        on_answers: OnAnswers[Answer],
    ) -> list[Answer]:
        answers: list[Answer] = []
        for start in range(0, total, self._chunk):
            indices = range(start, min(start + self._chunk, total))
            keys = [key_of(index) for index in indices]
            first = dict(zip(reversed(keys), reversed(indices), strict=True))
            known = look_up(list(first))
            missing = {key: first[key] for key in dict.fromkeys(keys) if key not in known}
            if missing:
                done = len(indices) - len(missing)
                report = _shifted(on_progress, start + done, total)
                keep = self._keeper(list(missing))
                found = dict(zip(missing, ask(list(missing.values()), report, keep), strict=True))
                self.store.add(found)  # once more, for a backend that has nothing to hand over early
                known |= found
            self.asked += len(missing)
            self.reused += len(indices) - len(missing)
            answers += [known[key] for key in keys]
            on_progress(len(answers), total)
            on_answers(dict(zip(indices, answers[start:], strict=True)))
        return answers

    def _keeper(self, keys: Sequence[bytes]) -> Callable[[Mapping[int, Answer]], None]:
        return lambda answers: self.store.add({keys[index]: answer for index, answer in answers.items()})

    def _key(self, kind: Kind, prompt: Prompt, asked: object) -> bytes:
        images = iter([self._image_digest(path) for path in prompt.images])
        content = [_with_digests(message, images) for message in messages(prompt, self.style)]
        return bytes.fromhex(sha256_json([kind, self.digest, content, asked]))

    def _image_digest(self, path: Path) -> str:
        try:
            stat = path.stat()
            return self._images.get((str(path), stat.st_size, stat.st_mtime_ns), lambda: sha256_file(path))
        except OSError as error:
            raise UserError(
                f"image {path} cannot be read ({error.strerror}); restore it or fix the images path."
            ) from None


def _with_digests(message: Message, images: Iterator[str]) -> Message:
    content = message["content"]
    if isinstance(content, str):
        return message
    parts = [part | {"image": next(images)} if part["type"] == "image" else part for part in content]
    return message | {"content": parts}


def _shifted(on_progress: OnProgress, offset: int, total: int) -> OnProgress:
    return lambda done, _: on_progress(offset + done, total)
