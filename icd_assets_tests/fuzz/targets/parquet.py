"""A Parquet table of others' answers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from icd_assets.evaluation.predictions import is_table
from icd_assets.report.answers_file import read_answers
from icd_assets.report.sides import by_id

SUFFIX = ".parquet"


def seeds() -> Iterable[bytes]:
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(
        {"question_id": [1, 2], "answer": ["a", "b"], "score": [0.5, 1.0], "more": [["x"], ["y", "z"]]}
    )
    for compression in ("none", "zstd"):
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression=compression)
        yield buffer.getvalue()


def read(path: Path) -> object:
    is_table(path)
    return by_id(read_answers(path), path)
