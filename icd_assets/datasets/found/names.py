"""Which column of a table holds what, by the names that people give them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from icd_assets.datasets.found.folder import PICTURES
from icd_assets.datasets.table_file import KEY, Column
from icd_assets.datasets.table_rows import Columns
from icd_assets.errors import UserError

# The likeliest first; compared without case, blanks, dashes and underscores.
_NAMES = {
    "question": ("question", "questiontext", "query", "questions", "sent", "q", "prompt"),
    "image_id": (
        *(
            "imagepath",
            "imgpath",
            "imagefile",
            "imagefilename",
            "filename",
            "image",
            "img",
            "imagename",
            "imgname",
        ),
        *("filepath", "file", "path", "picture", "photo", "imageid", "imgid", "imageindex", "cocoid"),
    ),
    "answers": (
        "answers",
        "directanswers",
        "answer",
        "gtanswers",
        "groundtruth",
        "label",
        "target",
        "response",
        "a",
    ),
    "answer": ("multiplechoiceanswer", "answer"),
    "question_id": ("questionid", "qid", "uid", "id", "sampleid"),
    "question_type": ("questiontype", "qtype"),
    "answer_type": ("answertype", "atype"),
    "split": ("split", "subset", "set", "partition", "fold"),
}
_NUMBERED = re.compile(r"(?:gt)?answer\d+")


def columns_by_name(rows: Sequence[Mapping[Column, Any]]) -> dict[str, Any]:
    """Role → column, as far as names (or of records that are lists, values) tell; ``rows`` are the first ones."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    if names and all(isinstance(name, int) for name in names):
        return _by_value(rows)
    plain = {_plain(name): name for name in reversed(names)}
    found: dict[str, Any] = {}
    for role, candidates in _NAMES.items():
        if there := [plain[name] for name in candidates if name in plain]:
            found[role] = there[0]
    if numbered := [name for name in names if _NUMBERED.fullmatch(_plain(name))]:
        found["answers"] = numbered
    if found.get("answer") == found.get("answers"):
        found.pop("answer", None)
    if KEY in names and "question_id" not in found:
        found["question_id"] = KEY
    return found


def complete(found: Mapping[str, Any]) -> bool:
    return {"question", "image_id", "answers"} <= set(found)


def given_columns(assignments: Sequence[str]) -> dict[str, Any]:
    """``question=text`` of the command line; of a table without names, ``question=0``."""
    found: dict[str, Any] = {}
    for assignment in assignments:
        several = assignment.split(",")
        for one in several if all("=" in part for part in several) else [assignment]:
            role, equals, name = one.partition("=")
            if not equals or role not in Columns.model_fields:
                raise UserError(
                    f"--columns {one}: write ROLE=COLUMN, with a role of {', '.join(Columns.model_fields)}."
                )
            column: Column = int(name) if name.isdecimal() else name
            if role == "answers" and role in found:  # answers=a1,answers=a2
                before = found[role]
                found[role] = [*(before if isinstance(before, list) else [before]), column]
            else:
                found[role] = column
    return found


def _plain(name: Column) -> str:
    return re.sub(r"[\s_\-.]", "", str(name).lower())


def _by_value(rows: Sequence[Mapping[Column, Any]]) -> dict[str, Any]:
    """Of records like ``["what is it?", "a dog", 7]``: a picture's number or file, the question, the answer."""
    places = range(min(len(row) for row in rows))
    values = {place: [row[place] for row in rows] for place in places}
    pictures = [place for place in places if _are_pictures(values[place])]
    texts = [place for place in places if place not in pictures and all(isinstance(v, str) for v in values[place])]
    asking = sorted(texts, key=lambda place: -sum(text.rstrip().endswith("?") for text in values[place]))
    if len(pictures) != 1 or len(texts) != 2 or not values[asking[0]][0].rstrip().endswith("?"):
        return {}
    return {"question": asking[0], "answers": asking[1], "image_id": pictures[0]}


def _are_pictures(values: Sequence[Any]) -> bool:
    return all(
        type(value) is int or (isinstance(value, str) and value.lower().endswith(PICTURES)) for value in values
    )
