"""A table of questions as people keep them: CSV, TSV, JSON, JSONL or Parquet, one record a question.

Only what is certain is read: a delimiter and an encoding other than the usual are named in the catalog.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, field_validator

from icd_assets.datasets.json_file import parse, read_json, require_whole
from icd_assets.datasets.parquet_file import opened_parquet
from icd_assets.datasets.text_file import LongLine, encoding_of, not_text, read_content
from icd_assets.errors import UserError
from icd_assets.runtime.foreign import brief, first_line

Format = Literal["csv", "tsv", "json", "jsonl", "parquet"]
Column = str | int  # a name, or a place from 0 in a record that is a list
FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
KEY = "_key"  # the column that holds a record's own key, of a JSON object of records

# Of names of hosts, of Python's own sources; some take quadratic time, and give what no other encoding can write.
_NO_FILES = ("idna", "punycode", "raw-unicode-escape", "unicode-escape", "undefined", "utf-7")
_COLUMNS = 10_000
_LONGEST = 1 << 20  # characters of a field: an unclosed quote is found before it has swallowed the file

Row = tuple[str, dict[Column, Any]]  # (place for messages, values by column)


class TableFile(BaseModel):
    """Where the records are, and how they are written; their columns are :class:`~.table_rows.Columns`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    format: Format | None = None  # default: what the name ends with
    encoding: str | None = None  # default: what the file's first bytes say, or UTF-8
    delimiter: str | None = None  # default: of CSV a comma, of TSV a tab
    header: bool = True  # of CSV and TSV: whether the first record names the columns
    records: str | None = None  # of a JSON object: the key of the list of records

    @field_validator("encoding")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        try:
            "a".encode(name or "utf-8")  # rot13 is no text's encoding
            found = None if name is None else codecs.lookup(name).name
        except (LookupError, ValueError):
            raise ValueError(f"there is no encoding {brief(name)}; write it like utf-16 or latin-1") from None
        if found in _NO_FILES:
            raise ValueError(f"no file is in the encoding {found}; write it like utf-16 or latin-1")
        return found

    @field_validator("delimiter")
    @classmethod
    def _one_character(cls, text: str | None) -> str | None:
        text = "\t" if text == "\\t" else text
        if text is not None and (len(text) != 1 or text.isalnum() or text in '"\r\n'):
            raise ValueError(
                f"the delimiter {brief(text)} is not one character between fields; give one such as ;"
            )
        return text

    @property
    def kind(self) -> Format:
        found = self.format or FORMATS.get(Path(self.path).suffix.lower())
        if found is None:
            raise UserError(
                f"{self.path}: its name does not say how it is written; add format: csv to the catalog."
            )
        return found

    def rows(self, on_bytes: Callable[[bytes], object] = len, only: Collection[Column] = ()) -> Iterator[Row]:
        """Every record, in the file's order. Raises :class:`UserError` naming file and line.

        ``only``: the columns that matter, if all of them are there; others of Parquet are then not read.
        """
        path = Path(self.path)
        match self.kind:
            case "csv":
                return self._delimited(path, self.delimiter or ",", on_bytes)
            case "tsv":
                return self._delimited(path, self.delimiter or "\t", on_bytes)
            case "json":
                return self._json(path, on_bytes)
            case "jsonl":
                return self._json_lines(path, on_bytes)
            case "parquet":
                return _parquet(path, on_bytes, only)

    def _delimited(self, path: Path, delimiter: str, on_bytes: Callable[[bytes], object]) -> Iterator[Row]:
        content = read_content(path, "a table", LongLine())
        on_bytes(content)
        encoding = encoding_of(path, content, self.encoding)
        csv.field_size_limit(_LONGEST)
        reader = csv.reader(
            io.TextIOWrapper(io.BytesIO(content), encoding, newline=""), delimiter=delimiter, strict=True
        )
        names: list[Column] | None = None
        line = 1
        try:
            for fields in reader:
                at, line = f"{path}: line {line}", reader.line_num + 1
                if not any(fields):  # a spreadsheet writes its empty rows as ,,,
                    continue
                if names is None:
                    names = _header(path, fields) if self.header else list(range(len(fields)))
                    if self.header:
                        continue
                if len(fields) > len(names):
                    raise UserError(
                        f"{at} has {len(fields)} fields, but the first has {len(names)}; put a field with a "
                        f"{'tab' if delimiter == chr(9) else brief(delimiter)} in it into double quotes."
                    )
                yield at, dict(zip(names, fields, strict=False))
        except csv.Error as error:
            raise UserError(
                f"{path}: line {line}: {first_line(error, 120)}; fix the quotes of that record."
            ) from None
        except UnicodeError:
            raise not_text(path, content, encoding) from None
        if names is None:
            raise UserError(f"{path} is empty; give the table of questions.")

    def _json(self, path: Path, on_bytes: Callable[[bytes], object]) -> Iterator[Row]:
        content = read_json(path, on_bytes=on_bytes, encoding=self.encoding, not_finite=True)
        if self.records is not None:
            content = content.get(self.records) if isinstance(content, dict) else None
        if isinstance(content, dict):
            content = [{KEY: key, **value} if isinstance(value, dict) else value for key, value in content.items()]
        if not isinstance(content, list):
            what = "no list of records" if self.records is None else f"no list {brief(self.records)} of records"
            raise UserError(f"{path} holds {what}; give one record a question.")
        for index, record in enumerate(content):
            content[index] = None
            yield f"{path}: [{index}]", _values(record, f"{path}: [{index}]")

    def _json_lines(self, path: Path, on_bytes: Callable[[bytes], object]) -> Iterator[Row]:
        content = read_content(path, "JSONL", LongLine())
        on_bytes(content)
        encoding = encoding_of(path, content, self.encoding)
        try:
            for number, line in enumerate(io.TextIOWrapper(io.BytesIO(content), encoding), start=1):
                if not line.strip():
                    continue
                at = f"{path}: line {number}"
                try:
                    record = parse(line, not_finite=True)
                except ValueError as error:
                    raise UserError(f"{at} is no JSON record ({error}); fetch or write the file again.") from None
                require_whole(record, line, f"{at}: ")
                yield at, _values(record, at)
        except UnicodeError:
            raise not_text(path, content, encoding) from None


def _header(path: Path, fields: list[str]) -> list[Column]:
    names = [field.strip("\ufeff \t") for field in fields]
    if len(names) > _COLUMNS:
        raise UserError(f"{path} has {len(names)} columns in its first record; give a table of up to {_COLUMNS}.")
    if twice := next((name for name, count in Counter(names).items() if count > 1), None):
        raise UserError(f"{path}: two columns are called {brief(twice)}; give each its own name.")
    return list(names)


def _values(record: Any, at: str) -> dict[Column, Any]:
    if isinstance(record, dict | list) and len(record) > _COLUMNS:
        raise UserError(f"{at} has {len(record)} columns; give a table of up to {_COLUMNS}.")
    if isinstance(record, list):
        return dict(enumerate(record))
    if not isinstance(record, dict):
        raise UserError(f"{at} is {brief(record, 40)}, not a record; give one record a question.")
    return record


def _parquet(path: Path, on_bytes: Callable[[bytes], object], only: Collection[Column]) -> Iterator[Row]:
    content = read_content(path, "Parquet")
    on_bytes(content)
    with opened_parquet(path, "write the table again", content, only) as file:
        names = file.schema_arrow.names
        columns = list(only) if only and {*only} <= {*names} else None
        if len({*names}) < len(names):
            twice = next(name for name, count in Counter(names).items() if count > 1)
            raise UserError(f"{path}: two columns are called {brief(twice)}; give each its own name.")
        index = 0
        for batch in file.iter_batches(batch_size=4096, columns=columns):
            for record in batch.to_pylist():
                yield f"{path}: row {index}", record
                index += 1
