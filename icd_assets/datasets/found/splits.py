"""Which of the files found are the train and the validation split."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from icd_assets.datasets.found.folder import Folder
from icd_assets.datasets.found.layout import Hints, Piece, look_at
from icd_assets.datasets.found.words import split_word
from icd_assets.errors import UserError

# The layouts, the one that is preferred first, and the task that each poses.
_TASKS = {"official": "vqa", "joined": "vqa", "table": "vqa", "choices": "multiple_choice", "captions": "caption"}
_SHARED_OUT = ("official", "joined", "table")
_SHARD = re.compile(r"\d+-of-\d+$")
_SAY = "say which: --train FILE --validation FILE"


@dataclass(frozen=True)
class Source:
    """What one split is read from. ``fields``: of its entry in the catalog, all but ``images``."""

    layout: str
    file: Path  # that names the images
    fields: dict[str, Any] = field(default_factory=dict)
    parts: tuple[str, ...] = ()

    @property
    def task(self) -> str:
        return _TASKS[self.layout]


@dataclass(frozen=True)
class Splits:
    train: Source
    validation: Source
    how: str  # what was decided, in words


def find_splits(
    folder: Folder, hints: Hints, *, task: str | None, share: float, train: Path | None, validation: Path | None
) -> Splits:
    """Both splits. Raises :class:`UserError` where there is nothing, or a choice only the user can make."""
    if train is not None:
        first = _named(train, hints, task)
        if validation is None:
            return _one(first, folder, share)
        return _two(first, _named(validation, hints, task), "as you named them")
    found = _sources([piece for path in folder.data if (piece := look_at(path, hints))], task)
    if not found:
        raise UserError(_nothing(folder))
    by_word: dict[str | None, list[Source]] = {}
    for source in found:
        by_word.setdefault(split_word(folder.shown(source.file)), []).append(source)
    if len(found) == 1:
        return _one(found[0], folder, share)
    single = {word: _only(sources, folder) for word, sources in by_word.items() if word is not None}
    if "train" in single:
        for word in ("validation", "test"):
            if word in single:
                return _two(single["train"], single[word], f"by their names ({word} is evaluated)")
    usable = list(single.values()) + by_word.get(None, [])
    if len(usable) == 1:
        return _one(usable[0], folder, share)
    names = ", ".join(folder.shown(source.file) for source in found[:6])
    raise UserError(f"{folder.root} has several files of questions ({names}), and no names of splits; {_SAY}.")


def _sources(pieces: Sequence[Piece], task: str | None) -> list[Source]:
    """Every piece that a split can be read from; official questions go with the annotations of their ids."""
    found: list[Source] = []
    questions = [piece for piece in pieces if piece.kind == "questions"]
    for piece in pieces:
        match piece.kind:
            case "annotations":
                if asked := _asked(piece, questions):
                    files = {"questions": str(asked.path), "annotations": str(piece.path)}
                    found.append(Source("official", piece.path, files))
            case "joined":
                found.append(Source("joined", piece.path, {"joined": str(piece.path)}))
            case "captions":
                found.append(Source("captions", piece.path, {"captions": str(piece.path)}))
            case "choices" | "table":
                found.append(_of_records(piece, task))
            case "questions":
                pass
    return [source for source in found if task in (None, source.task)]


def _asked(annotations: Piece, questions: Sequence[Piece]) -> Piece | None:
    """The questions of the same ids."""
    for asked in questions:
        if asked.ids == annotations.ids:
            return asked
    for asked in questions:
        if common := len(asked.ids & annotations.ids):
            raise UserError(
                f"{annotations.path} answers {len(annotations.ids)} questions and {asked.path} asks "
                f"{len(asked.ids)}, but only {common} are in both; give the two files of the same split."
            )
    return None


def _of_records(piece: Piece, task: str | None) -> Source:
    if piece.kind == "choices" or (piece.choices and task == _TASKS["choices"]):
        return Source("choices", piece.path, {"questions": str(piece.path)})
    if piece.choices and task is None:
        both = f"--task {_TASKS['table']} or --task {_TASKS['choices']}"
        raise UserError(f"{piece.path} has answers and choices; say what to train on: {both}.")
    table = {"path": str(piece.path), **piece.table}
    return Source("table", piece.path, {"table": table}, piece.parts)


def _named(path: Path, hints: Hints, task: str | None) -> Source:
    if not path.is_file():
        raise UserError(f"{path} does not exist; give the file that holds the split's questions and answers.")
    try:
        piece = look_at(path, hints, named=True)
    except KeyError:
        raise UserError(f"{path} is no CSV, TSV, JSON, JSONL or Parquet file by its name; rename it.") from None
    beside = [look_at(other, hints) for other in sorted(path.parent.glob("*.json")) if other != path]
    pieces = [piece, *(other for other in beside if other and other.kind == "questions")] if piece else []
    found = [source for source in _sources([one for one in pieces if one], task) if source.file == path]
    if not found:
        raise UserError(f"{path} holds no answered questions that can be read; give questions with answers.")
    return found[0]


def _only(sources: list[Source], folder: Folder) -> Source:
    """Of files of one split the layout that is read first; two of one layout are the user's choice."""
    best = min(sources, key=lambda source: list(_TASKS).index(source.layout))
    alike = [source for source in sources if source.layout == best.layout]
    if len(alike) > 1:
        names = " and ".join(folder.shown(source.file) for source in alike[:6])
        if all(_SHARD.search(source.file.stem) for source in alike):
            raise UserError(f"{names} are shards of one split; write them into one file.")
        raise UserError(f"{names} could each be one split; {_SAY}.")
    return best


def _two(train: Source, validation: Source, how: str) -> Splits:
    if train.task != validation.task:
        raise UserError(
            f"{train.file} is of the task {train.task}, {validation.file} of {validation.task}; {_SAY}."
        )
    return Splits(_whole(train), _whole(validation), how)


def _whole(source: Source) -> Source:
    """A table that has a split column, taken as a whole."""
    if source.layout != "table" or not source.parts:
        return source
    table = source.fields["table"]
    columns = {role: name for role, name in table["columns"].items() if role != "split"}
    return Source(source.layout, source.file, {"table": {**table, "columns": columns}})


def _one(source: Source, folder: Folder, share: float) -> Splits:
    """One file: by its split column if that names two, else by a share of its images."""
    name = folder.shown(source.file)
    if source.parts:
        words = {split_word(part): part for part in reversed(source.parts)}
        other = words.get("validation", words.get("test"))
        if "train" in words and other is not None:
            train, validation = (_part(source, part) for part in (words["train"], other))
            return Splits(
                train, validation, f"by the column {source.fields['table']['columns']['split']!r} of {name}"
            )
    if source.layout not in _SHARED_OUT:
        raise UserError(
            f"{name} is the only file, and the images of the task {source.task} are not shared out; {_SAY}."
        )
    fields = _whole(source).fields
    train, validation = (
        Source(source.layout, source.file, {**fields, "share": list(ends)}) for ends in ((0, share), (share, 1))
    )
    how = f"{name} alone: {share:.0%} of its images are train, the others validation (--share)"
    return Splits(train, validation, how)


def _part(source: Source, part: str) -> Source:
    return Source(source.layout, source.file, {"table": {**source.fields["table"], "split": part}})


def _nothing(folder: Folder) -> str:
    if not folder.data:
        return f"{folder.root} holds no CSV, TSV, JSON, JSONL or Parquet file; give the folder of the questions."
    names = ", ".join(folder.shown(path) for path in folder.data[:6])
    return (
        f"{folder.root}: none of {names} holds questions with answers and images by its columns' names; name one, "
        "and its columns: --train FILE --columns question=NAME,image_id=NAME,answers=NAME."
    )
