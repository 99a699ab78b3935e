"""Every answer of an evaluation as a Parquet table: what was asked, what was shown before it, what came back.

One row is one question under one strategy at one number of shots; its columns stand in docs/formats.md. Upstream
throws its answers away (SPEC O.2-15). Pictures are named within the images folder of their split, so that the same
evaluation has the same bytes wherever the dataset lies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icd_assets.datasets.ids import Id
from icd_assets.datasets.parquet_file import opened_parquet
from icd_assets.errors import UserError
from icd_assets.runtime.plain_file import open_plain

if TYPE_CHECKING:
    import pyarrow as pa

    from icd_assets.datasets.vqa import VqaItem
    from icd_assets.evaluation.evaluate import Outcome, Prediction
    from icd_assets.store.manifest import Manifest

NAME = "predictions.parquet"
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
    try:
        with opened_parquet(path, "evaluate again", only=columns) as file:
            if problem := _problem(file.schema_arrow, columns):
                raise UserError(f"{path} is no table of predictions: {problem}; evaluate again.")
            table = file.read(list(columns) or None)
            table.validate(full=True)  # texts may be no UTF-8
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; evaluate again.") from None
    for name in {*_NEEDED, *columns}.intersection(table.column_names):
        if _holes(table[name]):
            raise UserError(f"{path}: a row has no {name}; evaluate again.")
    return table


def is_table(path: Path) -> bool:
    """Whether a file has the columns of :func:`write_predictions`, whatever its name."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with open_plain(path) as file:
            return {*COLUMNS} <= {*pq.read_schema(file).names}
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError, RuntimeError):
        return False


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
