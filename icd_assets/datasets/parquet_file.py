"""Parquet of anyone's: what it would take in the memory is known before it is read.

A text that stands in a page once may stand in a million rows, and a page of zeros takes a ten-thousandth of its
size in the file. A real table takes ten times its file, so one that takes fifty times as much, and much at all, is
none.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icd_assets.datasets.parquet_pages import declared_values
from icd_assets.errors import UserError
from icd_assets.runtime.plain_file import open_plain

if TYPE_CHECKING:
    import pyarrow.parquet as pq

_FREE = 256 << 20  # bytes that a file of any size may take
_FREE_VALUES = 4_000_000
_TIMES = 50  # bytes a byte of the file
_VALUES_A_BYTE = 20
# What Arrow raises besides its own exceptions.
_UNREAD = (OSError, ValueError, TypeError, LookupError, ArithmeticError, RuntimeError, MemoryError)
_FREE_IN_LISTS = 2_000_000  # records of one row, say, at some hundred bytes each
_BATCH = 1 << 16  # rows


@contextmanager
def opened_parquet(
    path: Path, remedy: str, content: bytes | None = None, only: Collection[Any] = ()
) -> Iterator[pq.ParquetFile]:
    """The file, whose columns ``only`` (all of them, if one is not there) can be read within the memory.

    ``content``: its bytes, if they were read. Raises :class:`UserError` that ends with ``remedy`` for what is no
    sound Parquet file, also for what shows only while it is read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with open_plain(path) as file_itself:
            size = os.fstat(file_itself.fileno()).st_size if content is None else len(content)

        def opened(**options: Any) -> pq.ParquetFile:
            return pq.ParquetFile(path if content is None else pa.BufferReader(content), **options)

        with opened() as file:
            columns = _leaves(file.metadata, only)
            if problem := _declared(file.metadata, columns, size):
                raise UserError(f"{path} {problem}; {remedy}.")
            if in_lists := [at for at in columns if file.metadata.schema.column(at).max_repetition_level]:
                with open_plain(path) if content is None else BytesIO(content) as pages:
                    values = declared_values(pages, in_lists)
                if values > max(_FREE_IN_LISTS, size):
                    raise UserError(f"{path} declares {values} values of lists in {size} bytes; {remedy}.")
            texts = [file.metadata.schema.column(at).path for at in columns if _is_text(file.metadata, at)]
            # As a dictionary each text is there once, however often it stands in the table.
            with opened(read_dictionary=texts) as measured:
                if problem := _expanded(measured, texts, size):
                    raise UserError(f"{path} {problem}; {remedy}.")
            yield file
    except FileNotFoundError:
        raise
    except (pa.ArrowException, *_UNREAD) as error:
        why = (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{path} cannot be read as Parquet ({why[:200]}); {remedy}.") from None


def _leaves(metadata: Any, only: Collection[Any]) -> list[int]:
    """The columns as Parquet counts them, a list's elements and each field of a record as one."""
    tops = [metadata.schema.column(at).path.partition(".")[0] for at in range(metadata.num_columns)]
    everything = not only or not {*only} <= {*tops}
    return [at for at, top in enumerate(tops) if everything or top in only]


def _is_text(metadata: Any, at: int) -> bool:
    return bool(metadata.schema.column(at).physical_type == "BYTE_ARRAY")


def _groups(metadata: Any) -> Iterator[Any]:
    """Of a column's own metadata nothing is asked: where its histograms are damaged, Arrow ends the process."""
    return (metadata.row_group(group) for group in range(metadata.num_row_groups))


def _declared(metadata: Any, columns: Collection[int], size: int) -> str | None:
    """What is wrong by the file's own account."""
    for group in _groups(metadata):
        if group.total_byte_size > max(_FREE, _TIMES * size):
            return f"declares {group.total_byte_size >> 20} MiB in {size} bytes"
    values = metadata.num_rows * len(columns)
    if values > max(_FREE_VALUES, _VALUES_A_BYTE * size):
        return f"declares {values} values in {size} bytes"
    return None


def _expanded(file: pq.ParquetFile, texts: list[str], size: int) -> str | None:
    """What is wrong once each text has its place. A page of DELTA_BYTE_ARRAY, whose texts may each repeat the one
    before, is never read: Arrow makes no dictionary of it. Nor does it, within lists and records, of a column that
    changes its dictionary within a group: no writer makes one, and without dictionaries nothing bounds it."""
    import pyarrow as pa

    most, found = max(_FREE, _TIMES * size), 0
    try:
        for group in range(file.num_row_groups if texts else 0):  # each has dictionaries of its own
            for part in file.iter_batches(batch_size=_BATCH, row_groups=[group], columns=texts):
                found += sum(_size(column) for column in part.columns)
                if found > most:
                    return f"holds over {most >> 20} MiB of text in {size} bytes"
    except (pa.ArrowNotImplementedError, OSError) as error:
        if "Nested" in str(error):
            return "has a list or record of texts whose dictionary changes within a group of rows"
        if "DeltaByteArray" not in str(error):
            raise
        return "has texts in pages of DELTA_BYTE_ARRAY, which are not read"
    return None


def _size(array: Any) -> int:
    """Bytes of the texts of an array, each in its place."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(array, pa.DictionaryArray):
        lengths = pc.binary_length(array.dictionary)
        return pc.sum(pc.cast(lengths, pa.int64()).take(array.indices)).as_py() or 0
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type) or pa.types.is_map(array.type):
        return _size(array.values)
    if pa.types.is_struct(array.type):
        return sum(_size(inner) for inner in array.flatten())
    return int(array.nbytes)
