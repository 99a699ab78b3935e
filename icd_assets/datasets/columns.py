"""A parsed split as an Arrow table, kept in a memory-mapped file so that it is parsed once.

Such a file is a cache: losing it costs time, never truth. It is found by what it was parsed from, carries a
checksum over its content, and one that is damaged, truncated or foreign counts as absent. Two processes that
write the same one at once write the same bytes, and each moves its own into place.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icd_assets.datasets.ids import id_number
from icd_assets.runtime.plain_file import require_plain
from icd_assets.runtime.small_file import parse_json
from icd_assets.store.atomic import replacing

if TYPE_CHECKING:
    import pyarrow as pa

    from icd_assets.datasets.official import Record

# Raised when the same JSON would give other columns.
SCHEMA_VERSION = 1

_ROWS = 1 << 16  # a batch: its texts stay far below the 2 GiB that Arrow's offsets can count
_FACTS = b"icd_assets"


@cache
def _schema(text_ids: bool = False, named_images: bool = False) -> pa.Schema:
    """``text_ids``: questions have texts for ids; ``named_images``: images have, beside their numbers."""
    import pyarrow as pa  # a third of a second that a plan does without

    text, number = pa.string(), pa.int64()
    kinds = {
        "question_id": text if text_ids else number,
        "image_id": number,
        "question": text,
        "answer": text,
        "answers": pa.list_(text),
        "question_type": text,
        "answer_type": text,
    } | ({"image": text} if named_images else {})
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in kinds.items()])


def table_of(records: Sequence[Record]) -> pa.Table:
    """One column per field of a record, and ``image`` where images have texts for ids."""
    import pyarrow as pa

    first = records[0] if records else (0, 0)
    named = isinstance(first[1], str)
    schema = _schema(isinstance(first[0], str), named)
    batches = []
    for start in range(0, len(records), _ROWS):
        columns: list[Sequence[Any]] = list(zip(*records[start : start + _ROWS], strict=True))
        if named:
            names = columns[1]
            numbers = {name: id_number(name) for name in set(names)}
            columns = [columns[0], [numbers[name] for name in names], *columns[2:], names]
        arrays = [pa.array(values, kind) for values, kind in zip(columns, schema.types, strict=True)]
        batches.append(pa.RecordBatch.from_arrays(arrays, schema=schema))
    return pa.Table.from_batches(batches, schema)


def write_table(path: Path, table: pa.Table, key: str, digest: str) -> None:
    """``key`` names what the table was parsed from, and is part of the checksum; ``digest`` is the split's."""
    import pyarrow as pa

    facts = {"digest": digest, "checksum": _checksum(table, key, digest)}
    table = table.replace_schema_metadata({_FACTS: json.dumps(facts).encode()})
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def read_table(path: Path, key: str) -> tuple[pa.Table, str] | None:
    """(table, the split's digest) of a sound file that was parsed from what ``key`` names; else None."""
    import pyarrow as pa

    try:
        require_plain(path)  # a pipe would be waited for
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        if not any(reader.schema.equals(_schema(*kind)) for kind in product((False, True), repeat=2)):
            return None
        facts: dict[str, Any] = parse_json(reader.schema.metadata[_FACTS].decode())
        table = reader.read_all()
        table.validate(full=True)  # before anything follows an offset that a damaged file gives
        sound = facts["checksum"] == _checksum(table, key, facts["digest"])
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError):
        return None
    return (table, str(facts["digest"])) if sound else None


def _checksum(table: pa.Table, key: str, digest: str) -> str:
    sha = hashlib.sha256(f"{key} {digest}\n".encode())
    for batch in table.to_batches():
        sha.update(batch.serialize())
    return sha.hexdigest()
