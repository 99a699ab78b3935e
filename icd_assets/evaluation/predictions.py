"""Every answer of an evaluation as a Parquet table: what was asked, what was shown before it, what came back.

One row is one question under one strategy at one number of shots; its columns stand in docs/formats.md. Upstream
throws its answers away (SPEC O.2-15). Pictures are named within the images folder of their split, so that the same
evaluation has the same bytes wherever the dataset lies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icd_assets.datasets.ids import Id
from icd_assets.errors import UserError
from icd_assets.runtime.foreign import printable
from icd_assets.runtime.small_file import open_plain

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from icd_assets.datasets.vqa import VqaItem
    from icd_assets.evaluation.evaluate import Outcome, Prediction
    from icd_assets.store.manifest import Manifest

NAME = "predictions.parquet"
_MOST = 256 << 20  # bytes of the columns that are read; as Python's values they take some times that
_MOST_ROWS = 5_000_000
_FEW_ROWS = 64

_SHOWN = ("row", "question_id", "image", "question", "answer")  # of a demonstration

Key = tuple[str, int]  # strategy, shots


def write_predictions(
    path: Path,
    outcomes: Sequence[Outcome],
    queries: Sequence[VqaItem],
    library: Sequence[VqaItem],
    *,
    folders: tuple[Path, Path],
) -> None:
    """All predictions of ``outcomes``, in their order.

    queries: at least those that were asked; library: the train split. folders: where the pictures of both lie.
    """
    import pyarrow.parquet as pq

    schema, asked = _schema(queries, library), {query.question_id: query for query in queries}
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for outcome in outcomes:
            writer.write_table(_table(outcome.predictions, asked, library, folders, schema))


def _schema(queries: Sequence[VqaItem], library: Sequence[VqaItem]) -> pa.Schema:
    import pyarrow as pa

    text, number, flag = pa.string(), pa.int64(), pa.bool_()
    id = _id_type(library[0]) if library else number
    shown = dict(zip(_SHOWN, (number, id, text, text, text), strict=True))
    kinds = {
        "strategy": text,
        "shots": number,
        "question_id": _id_type(queries[0]),
        "image_id": number,
        "image": text,
        "question": text,
        "gold": text,
        "answers": pa.list_(text),
        "question_type": text,
        "answer_type": text,
        "demonstrations": pa.list_(pa.struct([pa.field(*one, nullable=False) for one in shown.items()])),
        "raw": text,
        "answer": text,
        "score": pa.float64(),
        "copied": flag,
        "gold_shown": flag,
    }
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in kinds.items()])


def _id_type(item: VqaItem) -> pa.DataType:
    """A split's question ids are all numbers or all texts."""
    import pyarrow as pa

    return pa.int64() if isinstance(item.question_id, int) else pa.string()


def _table(
    predictions: Sequence[Prediction],
    asked: Mapping[Id, VqaItem],
    library: Sequence[VqaItem],
    folders: tuple[Path, Path],
    schema: pa.Schema,
) -> pa.Table:
    import pyarrow as pa

    rows = []
    for found in predictions:
        query = asked[found.question_id]
        rows.append(
            {
                "strategy": found.strategy,
                "shots": found.shots,
                "question_id": query.question_id,
                "image_id": query.image_id,
                "image": _within(query.image, folders[0]),
                "question": query.question,
                "gold": query.answer,
                "answers": query.answers,
                "question_type": query.question_type,
                "answer_type": query.answer_type,
                "demonstrations": [
                    _demonstration(library[row], answer, folders[1])
                    for row, answer in zip(found.pointer_rows, found.demo_answers, strict=True)
                ],
                "raw": found.raw,
                "answer": found.answer,
                "score": found.score,
                "copied": found.copied,
                "gold_shown": found.gold_shown,
            }
        )
    return pa.Table.from_pylist(rows, schema)


def _demonstration(shown: VqaItem, answer: str, folder: Path) -> dict[str, Any]:
    """``answer``: what the prompt had for it, which is not its own where labels are shuffled."""
    return {
        "row": shown.row,
        "question_id": shown.question_id,
        "image": _within(shown.image, folder),
        "question": shown.question,
        "answer": answer,
    }


def _within(image: Path, folder: Path) -> str:
    return image.relative_to(folder).as_posix() if image.is_relative_to(folder) else str(image)


_NEEDED = ("strategy", "shots", "question_id", "image_id", "score")
_TEXTS = ("image", "question", "gold", "question_type", "answer_type", "raw", "answer")
COLUMNS = (*_NEEDED, *_TEXTS, "answers", "demonstrations", "copied", "gold_shown")


def read_predictions(path: Path, columns: Sequence[str] = ()) -> pa.Table:
    """The table of :func:`write_predictions`, or these ``columns`` of it.

    Raises ``UserError`` for a file that is missing, cut off, or has other columns, and for scores that are none.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        open_plain(path).close()  # a pipe would be waited for
        with pq.ParquetFile(path) as file:
            problem = _problem(file.schema_arrow, columns) or _too_large(file.metadata, columns)
            if problem is not None:
                raise UserError(f"{path} is no table of predictions: {problem}; evaluate again.")
            names = list(columns) or file.schema_arrow.names
            schema = pa.schema([file.schema_arrow.field(name) for name in names])
            texts = _text_paths(file.schema)
        with pq.ParquetFile(path, read_dictionary=texts) as compact, pq.ParquetFile(path) as file:
            table = pa.Table.from_batches(_bounded(path, compact, file, schema), schema)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; evaluate again.") from None
    except (pa.ArrowException, OSError, MemoryError, ValueError, OverflowError) as error:
        why = printable((str(error).splitlines() or [type(error).__name__])[0])[:300]
        raise UserError(f"{path} cannot be read as Parquet ({why}); evaluate again.") from None
    for name in {*_NEEDED, *columns}.intersection(table.column_names):
        if _holes(table[name]):
            raise UserError(f"{path}: a row has no {name}; evaluate again.")
    return table


def is_table(path: Path) -> bool:
    """Whether a file has the columns of :func:`write_predictions`, whatever its name."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        open_plain(path).close()
        return {*COLUMNS} <= {*pq.read_schema(path).names}
    except (pa.ArrowException, OSError, MemoryError, ValueError, OverflowError):
        return False


def _too_large(facts: pq.FileMetaData, columns: Sequence[str]) -> str | None:
    """What a file says of its own size, before anything is made room for."""
    if facts.num_rows > _MOST_ROWS:
        return f"it has {facts.num_rows:,} rows, of which at most {_MOST_ROWS:,} are read"
    chunks = [
        facts.row_group(at).column(i) for at in range(facts.num_row_groups) for i in range(facts.num_columns)
    ]
    chosen = [one for one in chunks if not columns or one.path_in_schema.partition(".")[0] in columns]
    size = sum(one.total_uncompressed_size for one in chosen)
    return f"it holds {size >> 20:,} MiB, of which at most {_MOST >> 20} are read" if size > _MOST else None


def _text_paths(schema: pq.ParquetSchema) -> list[str]:
    """The columns that are read with each text once, however often a file repeats it: two pages can stand for a
    terabyte."""
    columns = [schema.column(index) for index in range(len(schema))]
    return [column.path for column in columns if column.physical_type == "BYTE_ARRAY"]


def _bounded(
    path: Path, compact: pq.ParquetFile, file: pq.ParquetFile, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """The rows of both, which are one file; ``compact`` has each text once."""
    import pyarrow as pa

    size = 0
    for group in range(file.num_row_groups):
        try:
            parts: Iterable[pa.Table] = [compact.read_row_group(group, schema.names, use_threads=False)]
        except pa.ArrowNotImplementedError:  # lists of texts, some of which are not in the group's dictionary
            batches = file.iter_batches(_FEW_ROWS, [group], schema.names, use_threads=False)
            parts = (pa.Table.from_batches([batch]) for batch in batches)
        for part in parts:
            size += sum(_expanded(part[name]) for name in schema.names)
            if size > _MOST:
                raise UserError(
                    f"{path} is no table of predictions: it takes more than {_MOST >> 20} MiB; evaluate again."
                )
            yield from part.select(schema.names).cast(schema).to_batches()


def _expanded(column: pa.ChunkedArray | pa.Array) -> int:
    """How many bytes its texts take when each row has its own."""
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import types

    if isinstance(column, pa.ChunkedArray):
        return sum(_expanded(chunk) for chunk in column.chunks)
    if types.is_dictionary(column.type):
        lengths = pc.take(pc.binary_length(column.dictionary), column.indices)
        return pc.sum(lengths.cast(pa.int64())).as_py() or 0
    if _is_list(column.type):
        return _expanded(column.flatten())
    if types.is_struct(column.type):
        return sum(_expanded(column.field(index)) for index in range(column.type.num_fields))
    return int(column.nbytes)


def _problem(schema: pa.Schema, columns: Sequence[str]) -> str | None:
    """What a file of predictions does not have."""
    from pyarrow import types

    ids, texts = (types.is_integer, _is_text), (_is_text,)
    kinds: dict[str, Sequence[Callable[[pa.DataType], bool]]] = {
        "shots": (types.is_integer,),
        "question_id": ids,
        "image_id": ids,
        "score": (types.is_floating,),
        "answers": (lambda kind: _is_list(kind) and _is_text(kind.value_type),),
        "demonstrations": (_are_demonstrations,),
        "copied": (types.is_boolean,),
        "gold_shown": (types.is_boolean,),
    }
    for name in dict.fromkeys([*_NEEDED, *columns]):
        if name not in schema.names:
            return f"it has no column {name!r}"
        kind = schema.field(name).type
        if not any(fits(kind) for fits in kinds.get(name, texts)):
            return f"its column {name!r} holds {kind}"
    return None


def _is_text(kind: pa.DataType) -> bool:
    from pyarrow import types

    return bool(types.is_string(kind) or types.is_large_string(kind))  # polars writes the large ones


def _is_list(kind: pa.DataType) -> bool:
    from pyarrow import types

    return bool(types.is_list(kind) or types.is_large_list(kind))


def _are_demonstrations(kind: pa.DataType) -> bool:
    from pyarrow import types

    if not _is_list(kind) or not types.is_struct(kind.value_type):
        return False
    fields = {field.name: field.type for field in kind.value_type}
    texts = [name for name in _SHOWN if name not in ("row", "question_id")]
    return (
        {*fields} == {*_SHOWN}
        and types.is_integer(fields["row"])
        and all(_is_text(fields[name]) for name in texts)
    )


def _holes(column: pa.Array | pa.ChunkedArray) -> bool:
    """Whether a value is missing or is no number, also within a list or a record."""
    import pyarrow.compute as pc
    from pyarrow import types

    if pc.any(pc.is_null(column, nan_is_null=True)).as_py():
        return True
    if _is_list(column.type):
        return _holes(pc.list_flatten(column))
    if types.is_struct(column.type):
        return any(_holes(pc.struct_field(column, field.name)) for field in column.type)
    return False


def folder_of(manifest: Manifest, place: Path, root: Path) -> Path:
    """Where the predictions of an evaluation lie: ``place``, or our folder in it, where files of the user's have
    their names (:mod:`icd_assets.store.ownership`). root: the results root."""
    paths = (root / record.path for record in manifest.files)
    return next((path.parent for path in paths if path.name == NAME), place)


@dataclass(slots=True)
class Scores:
    """One strategy's scores at one number of shots, in the file's order."""

    ids: list[Id]
    images: list[Id]
    scores: list[float]


def read_scores(path: Path) -> dict[Key, Scores]:
    """(strategy, shots) → its scores, of a file of predictions.

    Raises ``UserError`` also where one strategy answers a question twice.
    """
    table = read_predictions(path, _NEEDED)
    found: dict[Key, Scores] = {}
    for strategy, shots, id, image, score in zip(*(table[name].to_pylist() for name in _NEEDED), strict=True):
        one = found.setdefault((strategy, shots), Scores([], [], []))
        one.ids.append(id)
        one.images.append(image)
        one.scores.append(score)
    for key, one in found.items():
        if len({*one.ids}) < len(one.ids):
            raise UserError(f"{path}: {key[0]:.80} answers a question twice; evaluate again.")
    return found


def gold_answers(path: Path) -> dict[Id, list[str]]:
    """Question → its gold answers, of a file of predictions."""
    table = read_predictions(path, ("question_id", "answers"))
    return dict(zip(table["question_id"].to_pylist(), table["answers"].to_pylist(), strict=True))
