"""A table of questions: CSV, JSON, JSONL, by its first byte."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from icd_assets.datasets.columns import table_of
from icd_assets.datasets.official import Record
from icd_assets.datasets.table_rows import Columns, Table, read_table_records

SUFFIX = ".csv"


def seeds() -> Iterable[bytes]:
    yield b'id,question,image,answer\n1,"What, then?",a.png,"[""a"", ""b""]"\n2.0,Who?,b/c.png,nan\n3,W,d.png,e\n'
    yield b'[{"id": 1, "question": "?", "image": 3.0, "answer": ["a", {"answer": 2}]}]'
    yield b'{"id": "q", "question": "?", "image": 3, "answer": 1e3}\n{"id": "r", "question": "?", "image": 4}\n'


def read(path: Path) -> list[Record]:
    kind = {b"[": "json", b"{": "jsonl"}.get(path.read_bytes()[:1], "csv")
    columns = Columns(question="question", image_id="image", answers="answer", question_id="id")
    table = Table.model_validate(
        {"path": str(path), "format": kind, "unanswered": "leave_out", "columns": columns}
    )
    records = read_table_records(table, "official", len)
    table_of(records)
    return records
