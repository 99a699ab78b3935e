"""What a ``.wandb`` file holds: records of wandb's own protocol, in LevelDB's log format behind a header."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_BLOCK, _HEADER, _FIRST = 32768, 7, 7  # the file's header has as many bytes as a chunk's: crc, length, kind


def records(file: Path) -> Iterator[Any]:
    """Every record, whole; a torn end is left out."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, parts = file.read_bytes(), _FIRST, b""
    while at + _HEADER <= len(data):
        if _BLOCK - at % _BLOCK < _HEADER:
            at += _BLOCK - at % _BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + _HEADER])
        chunk = data[at + _HEADER : at + _HEADER + length]
        at += _HEADER + length
        if kind == 0 or len(chunk) < length:
            return
        parts = chunk if kind in (1, 2) else parts + chunk
        if kind in (1, 4):
            record = Record()
            record.ParseFromString(parts)
            yield record


def history(file: Path) -> list[dict[str, Any]]:
    """The rows that were logged, in order."""
    rows = []
    for record in records(file):
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            row = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
            rows.append(row | {"step": record.history.step.num})
    return rows
