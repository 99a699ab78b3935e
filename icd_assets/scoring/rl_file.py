"""RL data on disk: schema generation 4 written, generations 2 to 5 read, everything checked (SPEC G.7, Q).

Deviations from upstream:
1. ``_meta`` is the last key: upstream's freshness test reads the first one (SPEC A.3). It holds no time of
   day.
2. Each pointer has ``source`` (= ``gen_method``), ``behavior_logprob`` and ``round`` besides upstream's
   fields. A query may have a ``role``, and ``prefix_candidates``, which are pointers of fewer shots.
3. Generations 2, 3 and 5 have global pointers and no pool: the pool is the sorted union of all the ids that
   they point at, as upstream does, but it is never cut.
4. A caption's pointer has ``cider``, and null where VQA has its labels; VQA data have no such key.
5. A file that mixes local and global pointers is refused; upstream misreads it (SPEC I).
6. Numbers of another type (``true`` for 1, a number as a text) are converted, and counted. What is NaN or infinite
   is null, and the pointer never counts where a reward reads that field; upstream trains on it.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from icd_assets.datasets.json_file import read_json
from icd_assets.errors import UserError
from icd_assets.runtime.foreign import brief
from icd_assets.scoring.rl_data import AnsweredPointer, RlData, RlQuery
from icd_assets.scoring.rl_parse import Record
from icd_assets.scoring.rl_values import finite


def write_rl_data(path: Path, data: RlData) -> None:
    """Generation 4, one query per line, ascending by row, ``_meta`` last; same data, same bytes."""
    if data.generation != 4:
        raise ValueError("only RL data with local pointers (generation 4) can be written")
    lines = [
        f"{json.dumps(str(query.row))}: {_dumps(_query(query))}"
        for query in sorted(data.queries, key=lambda query: query.row)
    ]
    lines.append(f'"_meta": {_dumps({"generation": 4, **data.meta})}')
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _query(query: RlQuery) -> dict[str, Any]:
    if not query.pointers:
        raise ValueError(f"query {query.row} has no pointers")
    header = query.model_dump(by_alias=True)
    pool, answered = header.pop("candidate_pool_ids"), header.pop("pointer_candidates")
    shorter = header.pop("prefix_candidates")
    if header["role"] is None:
        del header["role"]
    return {
        "query": header,
        "candidate_pool_ids": pool,
        "pointer_candidates": _pointers(query, answered, query.pointers),
        **({"prefix_candidates": _pointers(query, shorter, query.prefixes)} if shorter else {}),
    }


def _pointers(
    query: RlQuery, dumped: Sequence[dict[str, Any]], answered: Sequence[AnsweredPointer]
) -> list[dict[str, Any]]:
    return [_pointer(fields, query.rows_of(one)) for fields, one in zip(dumped, answered, strict=True)]


def _pointer(fields: dict[str, Any], rows: tuple[int, ...]) -> dict[str, Any]:
    if fields["cider"] is None:
        del fields["cider"]
    first = {"pointer": fields.pop("pointer"), "pointer_global": rows, "gen_method": fields["source"]}
    return first | fields


def read_rl_data(path: Path, *, n_rows: int | None = None) -> RlData:
    """RL data of any generation with pointers.

    ``n_rows``, the size of the train split, bounds every row. Raises :class:`UserError` that names the first
    offending query. Queries without pointers (upstream's strict mode leaves some) are kept.
    """
    content = read_json(path, unique_keys=True, not_finite=True)
    if not isinstance(content, dict):
        raise UserError(f"{path} is not RL data (an object of queries); make rl_data again.")
    meta = content.get("_meta", {})
    if not isinstance(meta, dict):
        raise UserError(f"{path}: '_meta' is not an object; make rl_data again.")
    records = _records(path, content, n_rows)
    if not records:
        raise UserError(f"{path} holds no queries; make rl_data again.")
    content.clear()  # the records are now the only ones to hold the raw queries
    generation, converted = _generation(records), Counter[str]()
    queries = tuple(_queries(records, converted, local=generation == 4))
    return RlData(queries, finite(meta), generation, dict(sorted(converted.items())))


def _records(path: Path, content: dict[str, Any], n_rows: int | None) -> deque[Record]:
    records: dict[int, Record] = {}
    for key, value in content.items():
        if not key.startswith("_"):
            record = Record(path, key, value, n_rows)
            if record.row in records:
                raise record.error("the query occurs twice under different spellings of its row")
            records[record.row] = record
    return deque(records.values())


def _generation(records: Iterable[Record]) -> int:
    """The file's schema, by the keys of its pointers; the first query that disagrees is named."""
    first: bool | None = None
    keys: set[str] = set()
    for record in records:
        for raw in record.pointers:
            local = "pointer_global" in raw
            if first is not None and local != first:
                raise record.error("some pointers of the file are local (with pointer_global) and some are global")
            first = local
            keys |= raw.keys()
    if first:
        return 4
    if "pointer_pos" in keys:
        return 3
    return 2 if "gen_method" in keys or "vqa_correct" in keys else 5


def _queries(records: deque[Record], converted: Counter[str], *, local: bool) -> Iterator[RlQuery]:
    """All of one number of shots, of one pool size where the file has pools, and all with a role or none."""
    shots = size = None
    has_role: bool | None = None
    while records:
        record = (
            records.popleft()
        )  # its raw query goes with it: both forms of a whole file would double the memory
        query = record.query(local=local)
        converted += record.converted
        size = size or len(query.candidate_pool_ids)
        if local and len(query.candidate_pool_ids) != size:
            raise record.error(f"the pool holds {len(query.candidate_pool_ids)} rows, the first query's {size}")
        for answered in query.pointers:
            shots = shots or len(answered.pointer)
            if len(answered.pointer) != shots:
                raise record.error(f"a pointer has {len(answered.pointer)} positions, the first one has {shots}")
        for answered in query.prefixes:
            if shots is None or len(answered.pointer) >= shots:
                raise record.error(
                    f"'prefix_candidates' holds {brief(list(answered.pointer))}, "
                    "which is no shorter than the pointers"
                )
        if has_role is not None and has_role != (query.role is not None):
            raise record.error("some queries of the file have a 'role' and some have none")
        has_role = query.role is not None
        yield query
