"""Which rows of a split hold one of some texts, in the question or in an answer."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pyarrow as pa


class Held(NamedTuple):
    """``text`` stands in the ``field`` (question, answer or answers) of ``row``."""

    row: int
    field: str
    text: str


def rows_holding(table: pa.Table, texts: Collection[str]) -> list[Held]:
    """One entry per row and text, ascending by row; of a row's fields, the first that holds the text.

    Arrow looks for the texts' first characters, which are rare (``<``, ``[``), in 5 million answers in under a
    second; what it finds is looked at here.
    """
    if not texts:
        return []
    first = "[" + "".join(sorted({re.escape(text[0]) for text in texts})) + "]"
    exact = re.compile("|".join(re.escape(text) for text in sorted(texts, key=lambda text: (-len(text), text))))
    found: dict[tuple[int, str], str] = {}
    for field in ("question", "answer", "answers"):
        for row, value in _candidates(table, field, first):
            for match in exact.finditer(value):
                found.setdefault((row, match[0]), field)
    return sorted(Held(row, field, text) for (row, text), field in found.items())


def _candidates(table: pa.Table, field: str, pattern: str) -> Iterator[tuple[int, str]]:
    """(row, text) where a text of the column may hold one."""
    import pyarrow.compute as pc

    start = 0
    for batch in table.select([field]).to_batches():
        values: Any = batch.column(0)
        rows = None
        if field == "answers":
            rows, values = pc.list_parent_indices(values), pc.list_flatten(values)
        places = pc.indices_nonzero(pc.match_substring_regex(values, pattern))
        own = places if rows is None else rows.take(places)
        yield from zip((start + row for row in own.to_pylist()), values.take(places).to_pylist(), strict=True)
        start += len(batch)
