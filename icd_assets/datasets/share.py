"""A part of a split's questions by their images, for a dataset that comes as one piece.

Images are put in the order of the SHA-256 of their ids. A share such as (0, 0.8) takes the first 80 % of them,
with all their questions: no picture is in two shares, and no shuffling needs to be remembered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from icd_assets.datasets.official import Record
from icd_assets.errors import UserError

Share = tuple[float, float]


def share_of(records: Sequence[Record], share: Share, where: str) -> list[Record]:
    """The records on the images of ``share``, in their order."""
    images = sorted({record[1] for record in records}, key=_place)
    if len(images) < 2:
        raise UserError(f"{where}: all questions are about one image, which cannot be shared out; add images.")
    first, last = (_end(end, len(images)) for end in share)
    taken = set(images[first:last])
    return [record for record in records if record[1] in taken]


def _end(end: float, count: int) -> int:
    """How many images lie before ``end``; one within leaves an image on either side."""
    return round(end * count) if end in (0, 1) else min(max(round(end * count), 1), count - 1)


def _place(image_id: int | str) -> str:
    return hashlib.sha256(str(image_id).encode("utf-8", "surrogatepass")).hexdigest()
