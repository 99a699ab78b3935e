"""A backend that never asks for the same answer twice.

A key is the sha256 of everything that decides an answer: its kind, the backend's digest, the prompt's
messages with each image replaced by the sha256 of its bytes, and the decoding (or the answer that is scored).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from icd_assets.errors import UserError
from icd_assets.store.digests import sha256_json
from icd_assets.vlm.answer_store import AnswerStore
from icd_assets.vlm.answers import Answers
from icd_assets.vlm.backend import Backend, HandOver, Question, Refused, Reply
from icd_assets.vlm.images import pixels_digest
from icd_assets.vlm.prompts import Message, messages

__all__ = ["AnswerStore", "CachedBackend"]


class CachedBackend(Backend):
    """A backend in front of which a store stands.

    Questions are put in the order of their prompts' beginnings, so that what begins alike is asked together;
    distinct ones are taken in chunks at fixed positions of that order, and every batch that the backend hands over
    is committed as a whole at once, by this process alone: a killed run loses what was being computed, and its
    second try asks for the very same batches of the rest. A chunk goes whole to one worker, so batches do not
    depend on how many of them there are.

    ``asked`` counts the questions that went to the model, ``reused`` those that did not have to, ``refused`` those
    that a server did not take.
    """

    def __init__(self, backend: Backend, store: Answers, *, chunk: int = 256) -> None:
        if chunk < 1:
            raise ValueError(f"chunk {chunk} < 1")
        super().__init__(digest=backend.digest, style=backend.style, generation=backend.generation)
        self.backend = backend
        self.store = store
        self.asked = 0
        self.reused = 0
        self.refused = 0
        self._chunk = chunk
        self._decoding = self.generation.model_dump(mode="json")

    def ask(self, questions: Sequence[Question], hand_over: HandOver[Reply]) -> None:
        order = sorted(range(len(questions)), key=lambda at: questions[at].prompt.order)
        keys = ((at, self._key(questions[at])) for at in order)
        request = _Request(questions, keys, self.store, hand_over)

        def keep(number: int, answers: Mapping[int, Reply]) -> None:
            self.refused += sum(isinstance(answer, Refused) for answer in answers.values())
            request.keep(number, answers)

        self.backend.ask_each(([questions[at] for at in part] for part in self._missing(request)), keep)

    def close(self) -> None:
        self.backend.close()
        self.store.close()

    def _missing(self, request: _Request) -> Iterator[list[int]]:
        """Chunk by chunk the positions that the model is to be asked about."""
        for positions, missing in request.chunks(self._chunk):
            self.asked += len(missing)
            self.reused += positions - len(missing)
            if missing:
                yield missing

    @property
    def counts(self) -> dict[str, int]:
        """As an artifact's facts name them."""
        refused = {"vlm_prompts_refused": self.refused} if self.refused else {}
        return {"vlm_prompts_asked": self.asked, "vlm_prompts_reused": self.reused, **refused}

    @property
    def environment(self) -> Mapping[str, str]:
        """Of the model, if it was asked anything."""
        return self.backend.environment if self.asked else {}

    def _key(self, question: Question) -> bytes:
        prompt, answer = question.prompt, question.answer
        images = iter([_image_digest(path) for path in prompt.images])
        content = [_with_digests(message, images) for message in messages(prompt, self.style)]
        kind, asked = ("generate", self._decoding) if answer is None else ("likelihood", answer)
        return bytes.fromhex(sha256_json([kind, self.digest, content, asked]))


def _image_digest(path: Path) -> str:
    try:
        return pixels_digest(path)
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


class _Request:
    """A caller's list, by the keys of its positions: which of them share a key, and so an answer.

    ``keys``, each with its position, are taken when they are needed: the model is at work on the first chunk
    while those of the second are made.
    """

    def __init__(
        self,
        questions: Sequence[Question],
        keys: Iterable[tuple[int, bytes]],
        store: Answers,
        hand_over: HandOver[Reply],
    ) -> None:
        self._questions = questions
        self._keys = keys
        self._store = store
        self._hand_over = hand_over
        self._positions: dict[bytes, list[int]] = {}
        self._answers: dict[bytes, Reply] = {}
        self._asked: list[list[bytes]] = []

    def chunks(self, size: int) -> Iterator[tuple[int, list[int]]]:
        """As often as ``size`` different keys have come, in their order: hand over what is known, then yield how
        many positions there were, and one of every key that is not known, the first."""
        chunk: list[bytes] = []
        positions = 0
        for position, key in self._keys:
            if key in self._answers:
                self._hand_over({position: self._answers[key]})
            elif key in self._positions:
                self._positions[key].append(position)
            else:
                self._positions[key] = [position]
                chunk.append(key)
            positions += 1
            if len(chunk) == size:
                yield positions, self._missing(chunk)
                chunk, positions = [], 0
        if positions:
            yield positions, self._missing(chunk)

    def _missing(self, chunk: Sequence[bytes]) -> list[int]:
        if known := self._known(chunk):
            self._share(known)
        if missing := [key for key in chunk if key not in known]:
            self._asked.append(missing)
        return [self._positions[key][0] for key in missing]

    def _known(self, chunk: Sequence[bytes]) -> dict[bytes, Reply]:
        texts = [key for key in chunk if self._questions[self._positions[key][0]].answer is None]
        known: dict[bytes, Reply] = {**self._store.texts(texts)} if texts else {}
        if len(texts) < len(chunk):
            asked = set(texts)
            known |= self._store.likelihoods([key for key in chunk if key not in asked])
        return known

    def keep(self, number: int, answers: Mapping[int, Reply]) -> None:
        """Commit a batch of the ``number``-th chunk with something missing, given by its places among that, then
        hand it over."""
        found = {self._asked[number][place]: answer for place, answer in answers.items()}
        self._store.add({key: answer for key, answer in found.items() if not isinstance(answer, Refused)})
        self._share(found)

    def _share(self, answers: Mapping[bytes, Reply]) -> None:
        self._answers |= answers
        self._hand_over({at: answer for key, answer in answers.items() for at in self._positions[key]})
