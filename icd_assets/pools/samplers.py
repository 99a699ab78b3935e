"""The pools of a sampler: for each query, ``size`` library rows that it may take as demonstrations (SPEC C).

Deviations from upstream:
1. A pool never holds the query: upstream drops the first hit of a similarity search, which with ties is
   another row than the query.
2. A pool holds no other question about the query's image, unless ``allow_same_image``: it would leak (SPEC
   O.2-13).
3. No row occurs twice: upstream's Mix keeps duplicates, so that its pools are smaller than they say.
4. A query's random candidates depend on the seed and the query alone, not on the queries drawn before it.
   Anchors are drawn as upstream draws them.
5. Ties of similarity are broken by row.
6. Text similarity of a caption query is that of its image to the candidates' captions (upstream's i2t retriever,
   SPEC M); upstream compares its gold caption, which a query at inference does not have.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from icd_assets.datasets.vqa import VqaItem, VqaSplit
from icd_assets.errors import UserError
from icd_assets.pools.config import SAMPLERS, PoolConfig
from icd_assets.pools.similarity import Features, SamplerFeatures, top_similar
from icd_assets.runtime.progress import OnProgress, counting, ignore
from icd_assets.runtime.seeding import python_rng

_CHUNK = 256  # queries between two progress reports


def draw_anchors(n_rows: int, count: int, seed: int) -> list[int]:
    """The queries that training data are made for, in upstream's order.

    The one draw that is not derived by :mod:`icd_assets.runtime.seeding`: upstream's ``random.seed(42)`` must be
    matched. A split with fewer rows than ``count`` gives all of them.
    """
    if count < 1 or n_rows < 1:
        raise UserError(f"sample_num is {count} of {n_rows} rows of the train split; take at least 1.")
    return random.Random(seed).sample(range(n_rows), min(count, n_rows))


def build_pools(
    sampler: str,
    queries: Sequence[VqaItem],
    library: Sequence[VqaItem],
    config: PoolConfig,
    *,
    same_split: bool,
    query_features: SamplerFeatures | None = None,
    library_features: SamplerFeatures | None = None,
    on_progress: OnProgress = ignore,
) -> dict[int, tuple[int, ...]]:
    """Query row → ``config.pool_size`` distinct rows of ``library`` (a whole split).

    ``same_split`` says that queries are rows of the library too. Feature rows follow ``queries`` and
    ``library``. Raises :class:`UserError` if too few candidates remain for a query.
    """
    if sampler not in SAMPLERS:
        raise UserError(f"unknown sampler {sampler!r}; valid: {', '.join(SAMPLERS)}.")
    shares = SAMPLERS[sampler].shares(config)
    banned = _banned(queries, library, same_split, config.allow_same_image)
    _check_sizes(queries, library, banned, config.pool_size)
    if SAMPLERS[sampler].needs_features:
        if query_features is None or library_features is None:
            raise ValueError(f"{sampler} needs features")
        if len(query_features.text) != len(queries) or len(library_features.text) != len(library):
            raise ValueError("features and rows differ in number")

    split = "train" if same_split else "validation"
    on_progress = counting(on_progress, "pools")
    pools: dict[int, tuple[int, ...]] = {}
    for start in range(0, len(queries), _CHUNK):
        part = slice(start, start + _CHUNK)
        ranked: list[list[list[int]]] = []  # per source: per query: rows, best first
        for source, count in shares:
            if count == 0:
                ranked.append([[]] * len(queries[part]))
            elif source == "rand":
                ranked.append(
                    [
                        _draw(python_rng(config.seed, "pool", split, query.row), len(library), rows, count)
                        for query, rows in zip(queries[part], banned[part], strict=True)
                    ]
                )
            else:
                assert query_features is not None and library_features is not None
                asked: Features = getattr(query_features, source)[part]
                offered: Features = getattr(library_features, source)
                ranked.append(top_similar(asked, offered, banned[part], config.pool_size))
        for query, *rankings in zip(queries[part], *ranked, strict=True):
            pools[query.row] = _merge(rankings, [count for _, count in shares])
        on_progress(len(pools), len(queries))
    return pools


def _banned(
    queries: Sequence[VqaItem], library: Sequence[VqaItem], same_split: bool, allow_same_image: bool
) -> list[list[int]]:
    """Per query the library rows that may not be in its pool, ascending."""
    own = [[query.row] if same_split else [] for query in queries]
    if allow_same_image:
        return own
    found = on_same_image(queries, library)
    return [sorted({*rows, *row}) for rows, row in zip(found, own, strict=True)]


def on_same_image(queries: Sequence[VqaItem], library: Sequence[VqaItem]) -> list[list[int]]:
    """Per query the rows of ``library`` (a whole split) on its image, ascending; a query of it is among them."""
    ids = _image_ids(library)
    by_image = np.argsort(ids, kind="stable")
    asked = [query.image_id for query in queries]
    first = np.searchsorted(ids, asked, "left", sorter=by_image)
    last = np.searchsorted(ids, asked, "right", sorter=by_image)
    return [by_image[start:end].tolist() for start, end in zip(first, last, strict=True)]


def _image_ids(library: Sequence[VqaItem]) -> NDArray[np.int64]:
    """[n_rows], without building the items of a split."""
    if isinstance(library, VqaSplit):
        return library.image_ids
    for row, item in enumerate(library):
        if item.row != row:
            raise ValueError(f"library[{row}] is row {item.row}: the library must be a whole split")
    return np.array([item.image_id for item in library], dtype=np.int64)


def _check_sizes(
    queries: Sequence[VqaItem], library: Sequence[VqaItem], banned: list[list[int]], size: int
) -> None:
    for query, rows in zip(queries, banned, strict=True):
        if (left := len(library) - len(rows)) < size:
            raise UserError(
                f"candidate pool of question_id {query.question_id}: {left} of {len(library)} rows "
                f"remain without the query and its image, but the pool size is {size}; lower the pool size."
            )


def _draw(rng: random.Random, n_rows: int, banned: list[int], count: int) -> list[int]:
    """``count`` distinct rows, none of ``banned`` (ascending), without listing all rows."""
    drawn = []
    for row in rng.sample(range(n_rows - len(banned)), count):
        for skipped in banned:
            if row < skipped:
                break
            row += 1
        drawn.append(row)
    return drawn


def _merge(rankings: list[list[int]], counts: list[int]) -> tuple[int, ...]:
    """Take ``counts[i]`` rows of each ranking in turn; a row that is in already yields to the next best."""
    pool: dict[int, None] = {}
    for ranking, count in zip(rankings, counts, strict=True):
        fresh = [row for row in ranking if row not in pool][:count]
        assert len(fresh) == count, "a ranking as long as the pool always has enough fresh rows"
        pool |= dict.fromkeys(fresh)
    return tuple(pool)
