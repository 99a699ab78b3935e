"""A file that lists some questions of a split, such as VQAv2's 10k validation questions (SPEC B.2)."""

from __future__ import annotations

from pathlib import Path

from icd_assets.datasets.ids import id_of
from icd_assets.datasets.official import read_list
from icd_assets.datasets.vqa import VqaSplit
from icd_assets.errors import UserError


def read_subset(path: Path, split: VqaSplit) -> list[int]:
    """The listed questions' rows in ``split``, ascending. Of the file, which is a joined one, only ids count.

    Raises :class:`UserError` for a question that the split does not have, or that is listed twice.
    """
    rows = {question_id: row for row, question_id in enumerate(split.question_ids.tolist())}
    found: set[int] = set()
    for at, record in read_list(path, "annotations"):
        question_id = id_of(record, "question_id", at)
        if question_id in split.left_out:
            continue
        if (row := rows.get(question_id)) is None:
            raise UserError(
                f"{at}: question_id {question_id} is not in the {split.split} split of {split.dataset}; "
                "give the subset of this split."
            )
        if row in found:
            raise UserError(f"{at}: question_id {question_id} is listed twice; keep one.")
        found.add(row)
    return sorted(found)
