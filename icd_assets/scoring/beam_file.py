"""Beam data on disk: upstream's JSON, its final and its legacy form (SPEC D.3)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from icd_assets.datasets.json_file import read_json
from icd_assets.errors import UserError
from icd_assets.runtime.foreign import brief
from icd_assets.scoring.infoscore import Beam, QueryBeams

_ROWS = 1 << 53  # more than any train split has
_LARGEST = 1e30  # training computes with numbers of 32 bits


def write_beams(path: Path, beams: Mapping[int, QueryBeams]) -> None:
    """The final form, queries by row; the same beams give the same bytes."""
    content = {str(row): _as_json(beams[row]) for row in sorted(beams)}
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def read_beams(path: Path, *, rows: int | None = None) -> dict[int, QueryBeams]:
    """Beams per query row, of the final form or the legacy one (``id_list`` and ``score_list`` alone).

    ``rows`` is the size of the train split that the ids must lie in. Raises ``UserError`` that names the
    file and the first query that is not as SPEC D.3 says; keys that are no number (``_meta``) are skipped.
    """
    content = read_json(path, unique_keys=True)
    if not isinstance(content, dict):
        raise UserError(f"{path} is no beam data: it holds {_kind(content)}, not an object; fix the path.")
    found = {}
    for key, record in content.items():
        if not (key.isascii() and key.isdecimal()):
            continue
        try:
            if len(key) > 15 or key != str(row := int(key)):
                raise ValueError(f"the key {brief(key, 40)} is not in plain decimal form")
            found[row] = _read_query(row, record, rows)
        except ValueError as error:
            raise UserError(
                f"{path}: query {key[:20]}: {error}; write the beam data again or remove that query."
            ) from None
    if not found:
        raise UserError(f"{path} holds no query's beams; give the beam data file itself.")
    return found


def require_in_pools(path: Path, beams: Mapping[int, QueryBeams], pools: Mapping[int, Sequence[int]]) -> None:
    """A selector learns positions in the query's pool: each row that a beam names must be in it."""
    for row, query in beams.items():
        offered = set(pools.get(row, ()))
        for beam in query.beams:
            if foreign := [id for id in beam.icds if id not in offered]:
                raise UserError(
                    f"{path}: query {row}: row {brief(foreign[0])} is not in the query's candidate pool; "
                    "give beam data and candidate pools that were made together."
                )


def _as_json(query: QueryBeams) -> dict[str, Any]:
    sequences = [[*beam.icds, query.row] for beam in query.beams]
    return {
        "beams": [
            {
                "shots": [
                    {"id": row, "score": score} for row, score in zip(beam.chosen, beam.step_scores, strict=True)
                ],
                "final_score": beam.score,
                "full_sequence": sequence,
            }
            for beam, sequence in zip(query.beams, sequences, strict=True)
        ],
        "few_shot_num": len(query.beams[0].icds),
        "id_list": sequences,
        "score_list": [beam.score for beam in query.beams],
        "shot_scores": [list(beam.step_scores) for beam in query.beams],
    }


def _read_query(row: int, record: Any, rows: int | None) -> QueryBeams:
    if not isinstance(record, dict):
        raise ValueError(f"it is {_kind(record)}, not an object")
    sequences = _list(record, "id_list")
    scores = [_number(score, "score_list") for score in _list(record, "score_list")]
    if len(scores) != len(sequences):
        raise ValueError(f"{len(sequences)} sequences in id_list but {len(scores)} scores in score_list")
    icds = [_sequence(sequence, row, rows) for sequence in sequences]
    if len({len(sequence) for sequence in icds}) > 1:
        raise ValueError("the sequences in id_list differ in length")
    if "beams" not in record:
        return QueryBeams(row, tuple(Beam(*beam) for beam in zip(icds, scores, strict=True)))
    details = _list(record, "beams")
    if len(details) != len(icds):
        raise ValueError(f"{len(icds)} sequences in id_list but {len(details)} in beams")
    return QueryBeams(row, tuple(_read_beam(*parts) for parts in zip(icds, scores, details, strict=True)))


def _read_beam(icds: tuple[int, ...], score: float, detail: Any) -> Beam:
    shots = _list(detail, "shots") if isinstance(detail, dict) else []
    if not all(isinstance(shot, dict) and _is_id(shot.get("id")) for shot in shots):
        raise ValueError("a shot in beams has no id")
    chosen = tuple(shot["id"] for shot in shots)
    if sorted(chosen) != sorted(icds):
        raise ValueError(f"beams names the shots {brief(list(chosen))}, id_list {brief(list(icds))}")
    return Beam(icds, score, chosen, tuple(_number(shot.get("score"), "a shot's score") for shot in shots))


def _sequence(sequence: Any, row: int, rows: int | None) -> tuple[int, ...]:
    """The demonstrations of an ``id_list`` entry: distinct rows, then the query."""
    if not isinstance(sequence, list) or len(sequence) < 2 or not all(map(_is_id, sequence)):
        raise ValueError(f"{brief(sequence)} in id_list is not a list of two or more row numbers")
    *icds, last = sequence
    if last != row:
        raise ValueError(f"a sequence in id_list ends with {brief(last)}, not with the query")
    if len(set(sequence)) < len(sequence):
        raise ValueError(f"the sequence {brief(sequence)} in id_list repeats a row")
    if rows is not None and max(sequence) >= rows:
        raise ValueError(f"id_list names row {brief(max(sequence))}, but the train split has {rows} rows")
    return tuple(icds)


def _list(record: dict[str, Any], name: str) -> list[Any]:
    value = record.get(name)
    if not isinstance(value, list) or not value:
        raise ValueError(f"{name} is {_kind(value)}, not a filled list")
    return value


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _ROWS


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} holds {_kind(value)}, not a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{name} holds a number that is not finite")
    if abs(number) > _LARGEST:
        raise ValueError(f"{name} holds {number:g}, which is no score")
    return number


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "a truth value", type(None): "missing"}
    return names.get(type(value), "a number")
