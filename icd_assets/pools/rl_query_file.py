"""RL's own queries with their pools: ``{"train": {"<query row>": [rows]}, "validation": {…}}``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from icd_assets.datasets.json_file import read_json
from icd_assets.errors import UserError
from icd_assets.pools.files import checked_pools, pools_text
from icd_assets.pools.rl_queries import RlPools, RlQueries

_ROLES = ("train", "validation")
_REMEDY = "delete the file to have it made again"


def write_rl_queries(path: Path, drawn: RlQueries, pools: Mapping[int, Sequence[int]]) -> None:
    """One query per line, in the order drawn."""
    parts = ((role, {row: pools[row] for row in getattr(drawn, role)}) for role in _ROLES)
    texts = (f'"{role}": {pools_text(own)}' for role, own in parts)
    path.write_text("{\n" + ",\n".join(texts) + "\n}\n", encoding="utf-8")


def read_rl_queries(path: Path, *, n_rows: int, size: int) -> RlPools:
    """What was written, every row checked; ``n_rows`` counts the train split, ``size`` a pool."""
    content = read_json(path, unique_keys=True)
    if not isinstance(content, dict) or set(content) != set(_ROLES):
        raise UserError(
            f'{path} must be an object of the form {{"train": {{"<query row>": [rows]}}, "validation": {{…}}}}; '
            f"{_REMEDY}."
        )
    train, validation = (
        checked_pools(f"{path}: {role}", content[role], n_rows=n_rows, size=size) for role in _ROLES
    )
    if both := sorted(train.keys() & validation.keys()):
        raise UserError(f"{path}: query {both[0]} is to train and to validate; {_REMEDY}.")
    return RlPools(train, validation)
