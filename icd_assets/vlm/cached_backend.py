"""A backend that never asks for the same answer twice.

A key is the sha256 of everything that decides an answer: its kind, the backend's digest, the prompt's
messages with each image replaced by the sha256 of its bytes, and the decoding (or the answer that is scored).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Generic, Literal

from icd_assets.errors import UserError
from icd_assets.runtime.plain_file import open_plain
from icd_assets.store.digests import sha256_json
from icd_assets.vlm.answer_store import AnswerStore
from icd_assets.vlm.backend import Answer, Backend, HandOver, Likelihood, Refused
from icd_assets.vlm.images import treatment
from icd_assets.vlm.lru import ByteLru
from icd_assets.vlm.picture_file import BYTES
from icd_assets.vlm.prompts import Message, Prompt, messages

__all__ = ["AnswerStore", "CachedBackend"]

Kind = Literal["generate", "likelihood"]

_KNOWN_IMAGES = 200_000


class CachedBackend(Backend):
    """A backend in front of which a store stands.

    Prompts are taken in chunks at fixed positions of the caller's list, and every batch that the backend hands
    over is committed as a whole at once: a killed run loses what was being computed, and its second try asks
    for the very same batches of the rest.

    ``asked`` counts the prompts that went to the model, ``reused`` those that did not have to, ``refused`` those
    that a server did not take.
    """

    def __init__(self, backend: Backend, store: AnswerStore, *, chunk: int = 256) -> None:
        if chunk < 1:
            raise ValueError(f"chunk {chunk} < 1")
        super().__init__(digest=backend.digest, style=backend.style, generation=backend.generation)
        self.backend = backend
        self.store = store
        self.asked = 0
        self.reused = 0
        self.refused = 0
        self._chunk = chunk
        self._images: ByteLru[tuple[str, int, int], str] = ByteLru(_KNOWN_IMAGES, lambda _: 1)

    def answer(self, prompts: Sequence[Prompt], hand_over: HandOver[str]) -> None:
        decoding = self.generation.model_dump(mode="json")
        for positions in self._chunks(len(prompts)):
            keys = [self._key("generate", prompts[at], decoding) for at in positions]
            chunk = _Chunk(positions, keys, self.store, hand_over)
            if missing := chunk.hand_over_known(self.store.texts(keys)):
                self.backend.answer([prompts[at] for at in missing], self._counting(chunk))
            self._count(positions, missing)

    def score(self, prompts: Sequence[Prompt], answers: Sequence[str], hand_over: HandOver[Likelihood]) -> None:
        for positions in self._chunks(len(prompts)):
            keys = [self._key("likelihood", prompts[at], answers[at]) for at in positions]
            chunk = _Chunk(positions, keys, self.store, hand_over)
            if missing := chunk.hand_over_known(self.store.likelihoods(keys)):
                asked = [prompts[at] for at in missing], [answers[at] for at in missing]
                self.backend.score(*asked, chunk.keep)
            self._count(positions, missing)

    def _chunks(self, total: int) -> Iterator[range]:
        return (range(start, min(start + self._chunk, total)) for start in range(0, total, self._chunk))

    def _counting(self, chunk: _Chunk[str]) -> HandOver[str]:
        def keep(answers: Mapping[int, str]) -> None:
            self.refused += sum(isinstance(answer, Refused) for answer in answers.values())
            chunk.keep(answers)

        return keep

    @property
    def counts(self) -> dict[str, int]:
        """As an artifact's facts name them."""
        refused = {"vlm_prompts_refused": self.refused} if self.refused else {}
        return {"vlm_prompts_asked": self.asked, "vlm_prompts_reused": self.reused, **refused}

    def _count(self, positions: Sequence[int], missing: Sequence[int]) -> None:
        self.asked += len(missing)
        self.reused += len(positions) - len(missing)

    def _key(self, kind: Kind, prompt: Prompt, asked: object) -> bytes:
        images = iter([self._image_digest(path) for path in prompt.images])
        content = [_with_digests(message, images) for message in messages(prompt, self.style)]
        return bytes.fromhex(sha256_json([kind, self.digest, content, asked]))

    def _image_digest(self, path: Path) -> str:
        try:
            stat = path.stat()
            return self._images.get((str(path), stat.st_size, stat.st_mtime_ns), lambda: _pixels_digest(path))
        except OSError as error:
            raise UserError(
                f"image {path} cannot be read ({error.strerror}); restore it or fix the images path."
            ) from None


def _pixels_digest(path: Path) -> str:
    """Of the file's bytes, and of what else decides which pixels the model sees."""
    how = treatment(path)
    with open_plain(path, BYTES) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return digest if how is None else sha256_json([digest, how])


def _with_digests(message: Message, images: Iterator[str]) -> Message:
    content = message["content"]
    if isinstance(content, str):
        return message
    parts = [part | {"image": next(images)} if part["type"] == "image" else part for part in content]
    return message | {"content": parts}


class _Chunk(Generic[Answer]):
    """A part of a request: which positions share a key, and so an answer."""

    def __init__(
        self, positions: Sequence[int], keys: Sequence[bytes], store: AnswerStore, hand_over: HandOver[Answer]
    ) -> None:
        self._positions: dict[bytes, list[int]] = {}
        for position, key in zip(positions, keys, strict=True):
            self._positions.setdefault(key, []).append(position)
        self._missing: list[bytes] = []
        self._store = store
        self._hand_over: HandOver[Answer] = hand_over

    def hand_over_known(self, known: Mapping[bytes, Answer]) -> list[int]:
        """Hand over what is known; returns one position, the first, of every key that is not."""
        if known:
            self._share(known)
        self._missing = [key for key in self._positions if key not in known]
        return [self._positions[key][0] for key in self._missing]

    def keep(self, answers: Mapping[int, Answer]) -> None:
        """Commit a batch, given by its places among the missing, then hand it over."""
        found = {self._missing[place]: answer for place, answer in answers.items()}
        self._store.add({key: answer for key, answer in found.items() if not isinstance(answer, Refused)})
        self._share(found)

    def _share(self, answers: Mapping[bytes, Answer]) -> None:
        self._hand_over({at: answer for key, answer in answers.items() for at in self._positions[key]})
