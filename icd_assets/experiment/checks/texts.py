"""Texts that a model would not read as text: its control tokens in a question, an answer, a caption or a choice.

Such a question is refused, by its id, before it is put into a prompt. ``ICD_LEAVE_OUT``, or ``leave_out`` of the
dataset in the catalog, leaves out the questions that hold one; both name texts, not a model, so that all models
of a dataset have the same rows.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from icd_assets.errors import UserError
from icd_assets.runtime.finding import Finding
from icd_assets.runtime.small_file import read_small_json
from icd_assets.store.atomic import write_atomic
from icd_assets.store.digests import sha256_json
from icd_assets.vlm.control_tokens import control_tokens
from icd_assets.vlm.weights import locate

if TYPE_CHECKING:
    from icd_assets.datasets.vqa import VqaSplit
    from icd_assets.experiment.experiment import Experiment

SPLITS = ("train", "validation")
_SHOWN = 60  # characters of a question


class _Found(BaseModel):
    """What is kept of a scan: how many questions hold a token, which tokens, and the first question."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    key: str
    questions: int
    tokens: list[str] = []
    question_id: int | str | None = None
    field: str = ""
    token: str = ""
    text: str = ""  # the question, cut: a multiple-choice file knows its questions by other ids


def texts(experiment: Experiment, splits: Iterable[str] = SPLITS) -> Iterator[Finding]:
    """One finding per split, and one for what is left out. A split that cannot be read is another check's."""
    try:
        tokens = _tokens(experiment, fetch=not experiment.read_only)
    except UserError:
        text = f"the control tokens of {experiment.model.name} are not known before it is on this machine"
        yield Finding("texts", "warning", text, "download it beforehand, then they are looked for in every text")
        return
    for split in splits:
        with suppress(UserError):
            items = _items(experiment, split)
            if items.left_out:
                count = f"{len(items.left_out)} of {len(items) + len(items.left_out)}"
                held = " or ".join(sorted(experiment.dataset.leave_out))
                yield Finding("texts", "ok", f"{count} {split} questions are left out: they hold {held}")
            if (found := _scan(experiment, items, tokens)).questions:
                yield Finding("texts", "problem", _sentence(experiment, split, found))
            else:
                yield Finding("texts", "ok", f"{len(items)} {split} questions hold no control token of the model")


def require_texts(experiment: Experiment, splits: Iterable[str] = SPLITS) -> None:
    """Raises :class:`UserError` if a text of ``splits`` would not be read as text by the cell's models."""
    tokens = _tokens(experiment, fetch=not experiment.read_only)
    for split in splits:
        if (found := _scan(experiment, _items(experiment, split), tokens)).questions:
            raise UserError(_sentence(experiment, split, found))


def _tokens(experiment: Experiment, *, fetch: bool) -> frozenset[str]:
    """Of the VLM, and of those of the selector's encoders that are on this machine (CLIP stops at its own)."""
    model, dataset = experiment.model, experiment.dataset
    found = frozenset() if model.unsupported is not None else model.backend.control_tokens(fetch=fetch)
    for name in {dataset.encoder, dataset.sampler_encoder}:
        encoder = experiment.encoder(name)
        with suppress(UserError):
            found |= control_tokens(locate(encoder.path, encoder.revision, fetch=False))
    return found


def _items(experiment: Experiment, split: str) -> VqaSplit:
    return experiment.data.train if split == "train" else experiment.data.validation


def _scan(experiment: Experiment, items: VqaSplit, tokens: frozenset[str]) -> _Found:
    """Kept by content: half a million questions are read once."""
    key = sha256_json([items.digest, sorted(tokens)])
    path = experiment.data.folder / f"{items.dataset}-{items.split}-texts-{key[:16]}.json"
    if (known := _kept(path, key)) is not None:
        return known
    found = _Found(key=key, questions=0)
    if held := items.holding(tokens):
        first, item = held[0], items[held[0].row]
        found = _Found(
            key=key,
            questions=len({one.row for one in held}),
            tokens=sorted({one.text for one in held}),
            question_id=item.question_id,
            field=first.field,
            token=first.text,
            text=item.question.splitlines()[0][:_SHOWN] if item.question else "",
        )
    with suppress(OSError):  # the next run scans again
        write_atomic(path, found.model_dump_json().encode())
    return found


def _kept(path: Path, key: str) -> _Found | None:
    try:
        found = _Found.model_validate(read_small_json(path))
    except (OSError, ValueError):
        return None
    return found if found.key == key else None


def _sentence(experiment: Experiment, split: str, found: _Found) -> str:
    files = experiment.data.source_files(split)
    path = files[0] if found.field == "question" else files[-1]
    where = "question" if found.field == "question" else "answers"
    which = f" ({found.text!r})" if found.text else ""
    more = f", as {found.questions} questions do" if found.questions > 1 else ""
    listed = ",".join(found.tokens)
    return (
        f"{path}: the {where} of question_id {found.question_id}{which} holds {found.token!r}, which "
        f"{experiment.model.name} or its selector does not read as text{more}; change it, or leave such questions "
        f"out: ICD_LEAVE_OUT={shlex.quote(listed)}."
    )
