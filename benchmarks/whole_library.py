"""Choosing from the whole library: what it brings on the demo, and what it costs at VQAv2's size.

    python benchmarks/whole_library.py accuracy [--questions 1200] [--preset NAME]
    python benchmarks/whole_library.py speed [--queries 1200]

``accuracy`` takes the selectors of a demo cell that is trained already (``make demo``) and asks the cell's VLM
with their two-shot choices for the validation questions, and for as many more of the demo's own generator as are
missing. Differences to the pool of 64 are paired, with intervals as an evaluation prints them. ``speed`` compares
the search for the 64 nearest of 443,757 vectors [512] with a loop that multiplies and sorts for one query at a
time, which must find the same rows, and with faiss' exact index where that is installed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

import icd_assets
from icd_assets.datasets.vqa import VqaItem
from icd_assets.evaluation.statistics import interval
from icd_assets.evaluation.whole_library import point, select_from_library, within_reach
from icd_assets.pools.config import PoolConfig
from icd_assets.pools.samplers import build_pools, on_same_image
from icd_assets.pools.similarity import top_similar
from icd_assets.selector.config import SelectorConfig
from icd_assets.selector.decoding import greedy
from icd_assets.selector.model import PointerSelectorV2, new_policy

SHOTS, POOL = 2, 64
ROWS, WIDTH = 443_757, 512
Rows = Sequence[Sequence[int]]


def accuracy(questions: int, preset: str | None) -> None:
    from icd_assets.evaluation.evaluate import require_queries
    from icd_assets.selector.embedding_file import read_embeddings
    from icd_assets.selector.encoder import ClipEncoder
    from icd_assets.selector.v2_file import read_v2
    from icd_assets.selector.v3_file import load_policy
    from icd_assets.tasks.vqa.metric import VqaAccuracy
    from icd_assets.vlm.cached_backend import AnswerStore, CachedBackend
    from icd_assets.vlm.prompts import Prompt

    experiment = icd_assets.open_cell("demo", "rand_sampler", "tiny_vl", preset=preset)
    library, model, metric = experiment.data.train, experiment.model, VqaAccuracy()
    v2 = experiment.files("v2_checkpoint")[0]
    checkpoint = read_v2(v2)
    files = {"v2 (SFT)": v2}
    if experiment.manifest("v2format_checkpoint") is not None:
        files["recommended"] = experiment.files("v2format_checkpoint")[0]
    policies = {name: load_policy(read_v2(file).state, file) for name, file in files.items()}
    vectors = read_embeddings(experiment.files("embeddings")[0], rows=len(library))
    encoder = ClipEncoder.of_checkpoint(checkpoint.towers, experiment.encoder(experiment.dataset.encoder).path)
    vlm = model.backend.open(
        digest=experiment.vlm().data_version, style=model.prompt, generation=model.generation, device="cpu"
    )
    with tempfile.TemporaryDirectory() as folder:
        queries = [*experiment.data.validation][:questions]
        queries += more_questions(questions - len(queries), len(queries), Path(folder))
        require_queries(queries)
        asking = CachedBackend(vlm, AnswerStore(Path(folder) / "answers.sqlite"))
        query, banned = encoder.encode(queries), on_same_image(queries, library)
        number: dict[int, int] = {}
        images = [number.setdefault(one.image_id, len(number)) for one in queries]

        def score(chosen: Rows) -> np.ndarray:
            shown = [[library[row] for row in rows] for rows in chosen]
            prompts = [Prompt.of(one, icds) for one, icds in zip(queries, shown, strict=True)]
            answers = [metric.clean(answer) for answer in asking.generate(prompts)]
            return np.array(metric.scores(answers, [one.answers for one in queries]))

        print(f"{len(queries)} questions, {SHOTS} shots, library of {len(library)}, accuracy %\n")
        print("| selector | looks at | points at | accuracy | − the first |")
        print("|---|---|---|---|---|")
        for name, policy in policies.items():
            base = None
            for looks, points, chosen in choices(policy, query, vectors, queries, library, banned):
                found = score(chosen)
                base = found if base is None else base
                gain = interval(found - base, images, -1, 1)
                shown = f"{100 * gain.value:+.1f} [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]"
                print(f"| {name} | {looks} | {points} | {100 * found.mean():.1f} | {shown} |", flush=True)


def choices(
    policy: PointerSelectorV2,
    query: torch.Tensor,
    vectors: torch.Tensor,
    queries: Sequence[VqaItem],
    library: Sequence[VqaItem],
    banned: Rows,
) -> Iterator[tuple[str, str, Rows]]:
    """(what is looked at, what is pointed at, rows chosen); the first is what an evaluation does."""
    for size in (POOL, 2 * POOL, 4 * POOL):
        pools = drawn(queries, library, size)
        yield f"{size} random", "the same", in_pools(policy, query, vectors, pools)
    for size in (POOL, 2 * POOL, 4 * POOL):
        near = top_similar(query.numpy(), vectors.numpy(), banned, size)
        yield f"{size} nearest", "the same", in_pools(policy, query, vectors, near)
    own = drawn(queries, library, POOL)
    for nearest in (POOL, 4 * POOL, len(library)):
        rows = select_from_library(policy, query, vectors, own, banned, SHOTS, nearest)
        points = "the whole library" if nearest == len(library) else f"these and the {nearest} nearest"
        yield f"{POOL} random", points, rows
    every = [[row for row in range(len(library)) if row not in set(out)] for out in banned]
    yield "the whole library", "the same", in_pools(policy, query, vectors, every)


def drawn(queries: Sequence[VqaItem], library: Sequence[VqaItem], size: int) -> Rows:
    config = PoolConfig(pool_size=size)
    return [list(pool) for pool in build_pools("RandSampler", queries, library, config, same_split=False).values()]


def in_pools(policy: PointerSelectorV2, query: torch.Tensor, vectors: torch.Tensor, pools: Rows) -> Rows:
    found = []
    for asked, pool in zip(query, pools, strict=True):
        picks = greedy(policy, asked[None], vectors[list(pool)][None], SHOTS)[0].tolist()
        found.append([pool[place] for place in picks])
    return found


def more_questions(count: int, first_row: int, folder: Path) -> list[VqaItem]:
    """Of the demo's generator, about pictures of their own."""
    from icd_assets.demo import dataset
    from icd_assets.demo.world import render
    from icd_assets.runtime.seeding import python_rng

    found = []
    for row in dataset.rows(dataset.Split("xval", "xval", questions=max(count, 0), first_image=800_001)):
        path = folder / f"{row.image_id}.jpg"
        if not path.exists():
            render(row.scene, python_rng(dataset.SEED, "demo", "picture", row.image_id)).save(path, quality=92)
        answer, kind = Counter(row.answers).most_common(1)[0][0], row.wording.kind
        ids = (first_row + len(found), row.question_id, row.image_id)
        found.append(VqaItem(*ids, row.wording.text, answer, row.answers, kind, "other", path))
    return found


def speed(queries: int) -> None:
    rng = np.random.default_rng(0)
    library, asked = unit(rng, ROWS), unit(rng, queries)
    excluded = [[int(row) for row in rng.choice(ROWS, 5, replace=False)] for _ in range(queries)]
    few = min(queries, 20)
    print(f"{queries} queries, {ROWS} × {WIDTH} float32 ({library.nbytes / 2**30:.2f} GiB), the {POOL} nearest")
    tracemalloc.start()  # numpy's arrays too
    top_similar(asked[:100], library, excluded[:100], POOL)
    over = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    found, blocked = timed(lambda: top_similar(asked, library, excluded, POOL))
    each = blocked / queries
    print(f"blocked product and short list: {blocked:.1f} CPU s, {1000 * each:.1f} ms a query, {over:.0f} MiB")

    def one_by_one() -> list[list[int]]:
        rows = []
        for query, out in zip(asked[:few], excluded, strict=False):
            similarity = library @ query
            similarity[out] = -np.inf
            rows.append(np.argsort(-similarity, kind="stable")[:POOL].tolist())
        return rows

    rows, naive = timed(one_by_one)
    assert all(set(one) == set(other) for one, other in zip(rows, found, strict=False))
    print(f"a product and a sort for each: {1000 * naive / few:.1f} ms a query; ratio {naive / few / each:.1f}")
    try:
        import faiss
    except ModuleNotFoundError:
        print("faiss is not installed")
    else:
        index = faiss.IndexFlatIP(WIDTH)
        index.add(library)
        (_, near), exact = timed(lambda: index.search(asked, POOL + 5))
        print(
            f"faiss {faiss.__version__}, exact index: {1000 * exact / queries:.1f} ms a query; "
            f"ratio {exact / blocked:.2f}; {100 * same(near, found, excluded):.3f} % of the rows are the same"
        )

    policy = new_policy(SelectorConfig(embedding_dim=WIDTH, hidden_dim=256), 0)
    own = [[int(row) for row in rng.choice(ROWS, POOL, replace=False)] for _ in range(few)]
    query, vectors = torch.from_numpy(asked[:few]), torch.from_numpy(library)
    reach = within_reach(query, vectors, own, excluded[:few], POOL)
    _, whole = timed(lambda: point(policy, query, vectors, own, reach, SHOTS))
    _, pool = timed(lambda: in_pools(policy, query, vectors, own))
    print(
        f"the selector itself: {1000 * whole / few:.1f} ms a query, in its pool {1000 * pool / few:.1f}; "
        f"ratio {whole / pool:.1f}"
    )


def same(near: np.ndarray, found: Rows, excluded: Rows) -> float:
    """The share of rows that faiss finds too, once those excluded are dropped."""
    left = [[row for row in line if row not in out] for line, out in zip(near.tolist(), excluded, strict=True)]
    return float(np.mean([len({*one[:POOL]} & {*other}) / POOL for one, other in zip(left, found, strict=True)]))


def unit(rng: np.random.Generator, rows: int) -> np.ndarray:
    vectors = rng.standard_normal((rows, WIDTH), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def timed(work: Callable[[], object]):
    began = time.process_time()  # of all threads, whatever else the machine does
    return work(), time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("accuracy", "speed"))
    parser.add_argument("--questions", type=int, default=1200)
    parser.add_argument("--preset")
    parser.add_argument("--queries", type=int, default=1200)
    options = parser.parse_args()
    if options.part == "accuracy":
        accuracy(options.questions, options.preset)
    else:
        speed(options.queries)


if __name__ == "__main__":
    main()
