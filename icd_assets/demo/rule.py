"""What somebody chooses who knows how the demo world works: a ceiling that no search for gold answers inflates."""

from __future__ import annotations

from collections.abc import Sequence

from icd_assets.demo.dataset import Row
from icd_assets.demo.world import TWO_WORD


def two_that_tell(query: Row, pool: Sequence[int], library: Sequence[Row]) -> tuple[int, int]:
    """Two rows of ``pool``, in prompt order: those that show the answer, the most telling one last.

    A one-word answer is shown by one demonstration with the query's kind and its shape (or color, if that is
    asked); a two-word answer by one of the shape and one of the color, or by one of both. Where the pool lacks
    one, others of the kind fill up, then any.
    """
    same_kind = [row for row in pool if library[row].wording.kind == query.wording.kind]
    shape = [row for row in same_kind if library[row].scene.shape == query.scene.shape]
    color = [row for row in same_kind if library[row].scene.color == query.scene.color]
    if query.wording.kind in TWO_WORD:
        both = [row for row in shape if row in color]
        telling = both[:1] or [*color[:1], *shape[:1]]
    else:
        telling = (color if query.wording.kind == "color" else shape)[:1]
    fill = [row for row in (*shape, *color, *same_kind, *pool) if row not in telling]
    first, second = [*telling, *dict.fromkeys(fill)][:2]
    return (second, first) if len(telling) == 1 else (first, second)
