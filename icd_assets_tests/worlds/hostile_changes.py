"""A sound file of any form with one of its parts another: a value of JSON or YAML, a column of a table, an entry
of a checkpoint, a line of a header.

>>> for name, put in changed(path, 60):
...     put()
"""

from __future__ import annotations

import io
import json
import sqlite3
import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from icd_assets_tests.worlds.hostile import ESCAPE, Put, changed_values, clear

_WIDE = 1 << 40
_CELLS = (
    "",
    "NaN",
    "1" + "0" * 400,
    "9" * 5000,
    '"',
    "'",
    ESCAPE,
    "a\0b",
    "../../../out",
    "n" * 300,
    "=1+1",
    ",,,",
)


def changed(path: Path, most: int) -> Iterator[tuple[str, Put]]:
    """At most ``most`` cases, evenly taken; none of a form that is not known here."""
    content = path.read_bytes()
    if content[:1] in (b"{", b"[") and path.suffix != ".jinja":
        yield from changed_values(path, most)
        return
    if content.startswith(b"PAR1"):
        cases = list(_columns(content))
    elif content.startswith(b"PK\3\4"):
        cases = list(_entries(content))
    elif content.startswith(b"SQLite"):
        cases = list(_schemas(content))
    elif path.suffix == ".safetensors":
        cases = list(_header(content))
    elif path.suffix in (".csv", ".tsv", ".env"):
        cases = list(_cells(content))
    else:
        cases = []
    for name, make in cases[:: max(1, -(-len(cases) // most))]:
        yield name, _writes(path, make)


def _writes(path: Path, make: Callable[[], bytes]) -> Put:
    def put() -> None:
        made = make()
        clear(path)
        path.write_bytes(made)

    return put


def _columns(content: bytes) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """A Parquet file whose columns are, one by one, of another type, absent, or there twice."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(pa.BufferReader(content))
    rows = table.num_rows
    columns: dict[str, Callable[[], Any]] = {
        "nulls": lambda: pa.nulls(rows),
        "flags": lambda: pa.array([True] * rows),
        "numbers": lambda: pa.array([-(2**63)] * rows),
        "unsigned": lambda: pa.array([2**64 - 1] * rows, pa.uint64()),
        "NaN": lambda: pa.array([float("nan")] * rows),
        "1e308": lambda: pa.array([1e308] * rows),
        "texts": lambda: pa.array([ESCAPE] * rows),
        "long texts": lambda: pa.array(["n" * 300] * rows),
        "NUL": lambda: pa.array(["a\0b"] * rows),
        "no UTF-8": lambda: pa.array([b"\xff\xed\xa0\x80"] * rows).view(pa.string()),
        "bytes": lambda: pa.array([b"\xff"] * rows),
        "lists": lambda: pa.array([["a", None]] * rows),
        "lists of lists": lambda: pa.array([[[[["a"]]]]] * rows),
        "records": lambda: pa.array([{"a": 1}] * rows),
        "dictionary": lambda: pa.array(["a"] * rows).dictionary_encode(),
        "dates beyond": lambda: pa.array([1 << 62] * rows, pa.timestamp("ms")),
        "dates": lambda: pa.array([1] * rows, pa.date32()),
        "decimals": lambda: pa.array([10**37] * rows, pa.decimal128(38, 0)),
    }
    for at, name in enumerate(table.column_names):
        for kind, make in columns.items():
            yield (
                f"{name}: {kind}",
                lambda at=at, name=name, make=make: _parquet(table.set_column(at, name, make())),
            )
        yield f"{name}: absent", lambda at=at: _parquet(table.remove_column(at))
        yield f"{name}: twice", lambda name=name: _parquet(table.append_column(name, table[name]))
    yield "no rows", lambda: _parquet(table.slice(0, 0))


def _parquet(table: Any) -> bytes:
    import pyarrow.parquet as pq

    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


def _entries(content: bytes) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """A file of ``torch.save`` whose entries are, one by one, something else or absent."""
    import torch

    found = torch.load(io.BytesIO(content), weights_only=False)  # a test's own
    values: dict[str, Any] = {
        "None": None,
        "True": True,
        "-1": -1,
        "10**400": 10**400,
        "NaN": float("nan"),
        "text": "text",
        "escape codes": ESCAPE,
        "surrogate": "\ud800",
        "bytes": b"\xff",
        "list": [],
        "dict": {},
        "odd keys": {1: 2, None: 3, (1, 2): 4},
        "deep": _nested(60),
        "number alone": torch.tensor(1.0),
        "no numbers": torch.zeros(0),
        "claims": torch.ones(1).expand(_WIDE),
        "NaN inside": torch.full((2, 3), float("nan")),
        "complex": torch.ones(2, 3, dtype=torch.complex64),
        "half": torch.ones(2, 3, dtype=torch.float16),
        "sparse": torch.eye(3).to_sparse(),
        "meta": torch.empty(_WIDE, device="meta"),
    }
    for name, value in values.items():
        yield name, lambda value=value: _saved(value)
    inner = [(key,) for key in found] if isinstance(found, dict) else []
    inner += [(key, one) for (key,) in inner if isinstance(found[key], dict) for one in list(found[key])[:2]]
    for place in inner:
        for name, value in values.items():
            yield f"{'.'.join(map(str, place))}: {name}", lambda p=place, v=value: _saved(_with(found, p, v))
        yield f"{'.'.join(map(str, place))}: absent", lambda p=place: _saved(_with(found, p))
    if isinstance(found, dict):
        yield "one more", lambda: _saved({**found, ESCAPE: 1})


def _nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def _with(content: dict[Any, Any], place: tuple[Any, ...], *value: Any) -> dict[Any, Any]:
    made = dict(content)
    if len(place) == 2:
        made[place[0]] = _with(made[place[0]], place[1:], *value)
    elif value:
        made[place[0]] = value[0]
    else:
        del made[place[0]]
    return made


def _saved(content: Any) -> bytes:
    import torch

    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, of sparse tensors
        torch.save(content, file)
    return file.getvalue()


def _header(content: bytes) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """A safetensors file whose header says something else."""
    length = int.from_bytes(content[:8], "little")
    header, numbers = json.loads(content[8 : 8 + length]), content[8 + length :]
    values: tuple[Any, ...] = (
        None,
        True,
        -1,
        0,
        2**63,
        10**400,
        1.5,
        "text",
        "\ud800",
        [],
        [-1],
        [2**62, 2**62],
        {},
    )

    def made(text: str) -> bytes:
        return struct.pack("<Q", len(text.encode())) + text.encode() + numbers

    for tensor, entry in list(header.items())[:2]:
        for field in entry if isinstance(entry, dict) else ():
            for value in values:
                other = {**header, tensor: {**entry, field: value}}
                yield f"{tensor}.{field}: {str(value)[:20]}", lambda other=other: made(json.dumps(other))
        for value in values:
            yield f"{tensor}: {str(value)[:20]}", lambda o={**header, tensor: value}: made(json.dumps(o))
    for value in (0, 1, 2**31, 2**63):
        yield f"length {value}", lambda value=value: struct.pack("<Q", value) + content[8:]
    yield "key twice", lambda: made("{" + json.dumps(header)[1:-1] + ", " + json.dumps(header)[1:])
    yield "deep", lambda: made('{"a": ' + "[" * 100_000)


def _counting(columns: int) -> str:
    """A query that has no end."""
    return (
        f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT {', '.join('i' * columns)} FROM n"
    )


def _schemas(content: bytes) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """A SQLite file whose tables are, one by one, of other columns, hold other values, or are none."""

    def made(*statements: str) -> Callable[[], bytes]:
        def make() -> bytes:
            with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
                # as in a file without a log beside it: none can be deserialized
                database.deserialize(content[:18] + b"\1\1" + content[20:])
                for statement in statements:
                    database.execute(statement)
                return database.serialize()

        return make

    with closing(sqlite3.connect(":memory:")) as database:
        database.deserialize(content[:18] + b"\1\1" + content[20:])
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = {table: [row[1] for row in database.execute(f"PRAGMA table_info({table})")] for table in tables}
    for table in tables:
        names = ", ".join(columns[table])
        drop = f"DROP TABLE {table}"
        yield f"{table}: absent", made(drop)
        yield f"{table}: other columns", made(drop, f"CREATE TABLE {table} (a, b)")
        yield (
            f"{table}: a view without end",
            made(drop, f"CREATE VIEW {table} ({names}) AS {_counting(len(columns[table]))}"),
        )
        yield (
            f"{table}: refuses",
            made(f"CREATE TRIGGER t BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, '{ESCAPE}'); END"),
        )
        for value in ("NULL", "-1", "9e999", "x'ff00'", "'text'", "'a' || char(0) || 'b'", "zeroblob(1000)"):
            values = ", ".join([value] * len(columns[table]))
            yield (
                f"{table}: {value}",
                made(drop, f"CREATE TABLE {table} ({names})", f"INSERT INTO {table} VALUES ({values})"),
            )
    for name in ("application_id", "user_version"):
        yield name, made(f"PRAGMA {name} = 7")
    for at in (20, 40, 100, 105, len(content) // 2):
        yield f"byte {at}", lambda at=at: content[:at] + b"\xff" * 8 + content[at + 8 :]


def _cells(content: bytes) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """A text of lines and fields, with another field in each place of the first two lines."""
    text = content.decode()
    mark = "\t" if "\t" in text else "=" if "," not in text else ","
    lines = text.splitlines()
    for row in range(min(2, len(lines))):
        fields = lines[row].split(mark)
        for at in range(len(fields)):
            for cell in _CELLS:
                changed_line = mark.join([*fields[:at], cell, *fields[at + 1 :]])
                whole = "\n".join([*lines[:row], changed_line, *lines[row + 1 :], ""])
                yield f"line {row}, field {at}: {cell[:12]!r}", lambda whole=whole: whole.encode()
    yield "each line twice", lambda: "\n".join(line for one in lines for line in (one, one)).encode()
