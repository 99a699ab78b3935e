"""RL data on disk: schema generation 4 written, generations 2 to 5 read, everything checked (SPEC G.7, Q).

Deviations from upstream:
1. ``_meta`` is the last key: upstream's freshness test reads the first one (SPEC A.3). It holds no time of
   day.
2. Each candidate has ``source`` (= ``gen_method``), ``behavior_logprob`` and ``round`` besides upstream's
   fields.
3. Generations 2, 3 and 5 have global pointers and no pool: the pool is the sorted union of all the ids that
   they point at, as upstream does, but it is never cut.
4. A caption's candidate has ``cider``, and null where VQA has its labels; VQA data have no such key.
5. A file that mixes local and global pointers is refused; upstream misreads it (SPEC I).
"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from icd_assets.datasets.json_file import read_json
from icd_assets.errors import UserError
from icd_assets.scoring.rl_data import AnsweredPointer, RlData, RlQuery
from icd_assets.scoring.rl_parse import Record

# Written after the pointers, in this order; ``gen_method`` repeats ``source`` for upstream's readers.
_LABELS = [field.name for field in fields(AnsweredPointer) if field.name not in ("pointer", "cider")]


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
    if not query.candidates:
        raise ValueError(f"query {query.row} has no candidates")
    return {
        "query": {
            "query_id": query.row,
            "question_id": query.question_id,
            "image_id": query.image_id,
            "question": query.question,
            "gt_answers_raw": query.gt_answers_raw,
            "gt_answers_norm": query.gt_answers_norm,
        },
        "candidate_pool_ids": query.candidate_pool_ids,
        "pointer_candidates": [
            {
                "pointer": candidate.pointer,
                "pointer_global": query.rows_of(candidate),
                "gen_method": candidate.source,
                **{name: getattr(candidate, name) for name in _LABELS},
                **({} if candidate.cider is None else {"cider": candidate.cider}),
            }
            for candidate in query.candidates
        ],
    }


def read_rl_data(path: Path, *, n_rows: int | None = None) -> RlData:
    """RL data of any generation with candidates.

    ``n_rows``, the size of the train split, bounds every row. Raises :class:`UserError` that names the first
    offending query. Queries without candidates (upstream's strict mode leaves some) are kept.
    """
    content = read_json(path, unique_keys=True)
    if not isinstance(content, dict):
        raise UserError(f"{path} is not RL data (an object of queries); make rl_data again.")
    meta = content.get("_meta", {})
    if not isinstance(meta, dict):
        raise UserError(f"{path}: '_meta' is not an object; make rl_data again.")
    queries = {}
    for key, value in content.items():
        if not key.startswith("_"):
            record = Record(path, key, value, n_rows)
            if record.row in queries:
                raise record.error("the query occurs twice under different spellings of its row")
            queries[record.row] = record
    if not queries:
        raise UserError(f"{path} holds no queries; make rl_data again.")
    generation = _generation(list(queries.values()))
    local = generation == 4
    parsed = tuple(record.query(local=local) for record in queries.values())
    _check_equal_sizes(list(queries.values()), parsed, local)
    return RlData(queries=parsed, meta=meta, generation=generation)


def _generation(records: list[Record]) -> int:
    """The file's schema, by the keys of its candidates; the first query that disagrees is named."""
    first: bool | None = None
    keys: set[str] = set()
    for record in records:
        for candidate in record.candidates:
            local = "pointer_global" in candidate
            if first is not None and local != first:
                raise record.error("some pointers of the file are local (with pointer_global) and some are global")
            first = local
            keys |= candidate.keys()
    if first:
        return 4
    if "pointer_pos" in keys:
        return 3
    return 2 if "gen_method" in keys or "vqa_correct" in keys else 5


def _check_equal_sizes(records: list[Record], queries: tuple[RlQuery, ...], local: bool) -> None:
    """One number of shots per file, and one pool size where the file has pools."""
    shots: int | None = None
    size = len(queries[0].candidate_pool_ids)
    for record, query in zip(records, queries, strict=True):
        if local and len(query.candidate_pool_ids) != size:
            raise record.error(f"the pool holds {len(query.candidate_pool_ids)} rows, the first query's {size}")
        for candidate in query.candidates:
            shots = len(candidate.pointer) if shots is None else shots
            if len(candidate.pointer) != shots:
                raise record.error(f"a pointer has {len(candidate.pointer)} positions, the first one has {shots}")
