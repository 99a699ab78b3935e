"""How time and memory grow: with 1, 4 and 16 times the queries, and with the library up to VQAv2's size.

    python benchmarks/growth.py [--queries 500] [--libraries 640 9009 110939 443757] [--picture FILE.svg]

Each point is a process of its own. Its seconds are the processor's, without those of its imports; its memory is
the most that it held of its own, without mapped files. Queries grow beside a library of 9,009, as OK-VQA's;
libraries beside the queries that the other table begins with. *Growth* is the slope of log seconds by log size
between the last two sizes; linear is 1. VQAv2 here is synthetic (vqav2_scale.py).
"""

from __future__ import annotations

import argparse
import io
import json
import math
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import vqav2_scale
from vqav2_scale import Own

from icd_assets.evaluation.tables import text_table

TIMES, LIBRARY, WIDTH, POOL, POINTERS = (1, 4, 16), 9009, 512, 64, 13
FILE_PARTS = ("second load", "TextSimSampler", "MixSampler", "read embeddings")


def pools(queries: int, folder: Path) -> Callable[[], object]:
    return partial(vqav2_scale.build, "TextSimSampler", folder, LIBRARY, queries)


def proposals(queries: int, folder: Path) -> Callable[[], object]:
    import torch
    from proposals import CONFIG

    from icd_assets.selector.config import SelectorConfig
    from icd_assets.selector.model import new_policy
    from icd_assets.selector.projected import ProjectedLibrary
    from icd_assets.selector.proposals import propose

    rng = torch.Generator().manual_seed(0)
    table = torch.nn.functional.normalize(torch.randn(LIBRARY, WIDTH, generator=rng), dim=-1)
    rows = torch.randint(LIBRARY, (queries, POOL), generator=rng)
    policy = new_policy(SelectorConfig(embedding_dim=WIDTH), 0).eval()
    own = [number % LIBRARY for number in range(queries)]
    return lambda: propose(ProjectedLibrary(policy, table), own, table[own], rows, CONFIG)


def training(queries: int, folder: Path) -> Callable[[], object]:
    from training import RceConfig, SelectorConfig, groups, new_policy, train_rce

    every = groups(queries, LIBRARY)
    start = new_policy(SelectorConfig(embedding_dim=WIDTH), 0)
    train_rce(new_policy(start.config, 0), every[:10], RceConfig(rce_epochs=1, batch_size=10), sft=start)
    return lambda: train_rce(start, every, RceConfig(rce_epochs=1, batch_size=32), sft=new_policy(start.config, 0))


def answers(queries: int, folder: Path) -> Callable[[], object]:
    from icd_assets.store.digests import sha256_json
    from icd_assets.vlm.answer_store import AnswerStore

    keys = [bytes.fromhex(sha256_json(number)) for number in range(POINTERS * queries)]

    def write_and_read() -> None:
        with tempfile.TemporaryDirectory() as name, AnswerStore(Path(name) / "answers.sqlite") as store:
            for start in range(0, len(keys), 64):
                store.add(dict.fromkeys(keys[start : start + 64], "an answer"))
            for start in range(0, len(keys), 4096):
                assert len(store.texts(keys[start : start + 4096])) == len(keys[start : start + 4096])

    return write_and_read


QUERY_PARTS: Mapping[str, Callable[[int, Path], Callable[[], object]]] = {
    "TextSimSampler": pools,
    "proposals": proposals,
    "RCE, an epoch": training,
    "store of answers": answers,
}


def measured(part: str, size: int, folder: Path, *, queries: int | None) -> dict[str, float]:
    """CPU seconds and GiB of a part. queries: None where ``size`` is theirs, else that of the library."""
    if queries is None:
        work = QUERY_PARTS[part](size, folder)
    elif part == "second load":
        work = partial(vqav2_scale.load, part, folder, size)
    elif part == "read embeddings":
        work = partial(vqav2_scale.read_matrix, folder, size, queries)
    else:
        work = partial(vqav2_scale.build, part, folder, size, queries)
    import torch  # noqa: F401 - imported by every part, sooner or later

    own = Own()
    own.start()
    before = resource.getrusage(resource.RUSAGE_SELF)
    work()
    after = resource.getrusage(resource.RUSAGE_SELF)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": seconds, "gib": own.peak / (1 << 20)}


def alone(part: str, size: int, folder: Path, queries: int | None) -> tuple[float, float]:
    command = [sys.executable, __file__, "--part", part, "--size", str(size), "--folder", str(folder)]
    if queries is not None:
        command += ["--queries", str(queries)]
    found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    return found["seconds"], found["gib"]


Points = dict[str, dict[int, tuple[float, float]]]  # part → size → CPU seconds, GiB


def rows_of(points: Points) -> list[list[str]]:
    lines = []
    for part, found in points.items():
        (few, (short, _)), (many, (long, _)) = list(found.items())[-2:]
        growth = math.log(long / short) / math.log(many / few)
        cells = [f"{seconds:.2f} s, {gib:.2f} GiB" for seconds, gib in found.values()]
        lines.append([part, *cells, f"{growth:.2f}"])
    return lines


def draw(path: Path, panels: Sequence[tuple[str, Points]]) -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.hashsalt": "growth", "svg.fonttype": "none"}
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, len(panels), figsize=(9, 6), sharex="col", layout="constrained")
    for column, (title, points) in enumerate(panels):
        for part, found in points.items():
            for row, axis in enumerate(axes[:, column]):
                axis.plot(list(found), [point[row] for point in found.values()], "o-", label=part, markersize=3)
        axes[0, column].set(xscale="log", yscale="log", ylabel="CPU seconds")
        axes[1, column].set(xscale="log", ylim=(0, None), ylabel="GiB", xlabel=title)
        axes[0, column].legend(fontsize="small")
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg", metadata={"Date": None})
    whole = drawn.getvalue()  # the page takes the element alone
    path.write_text(re.sub(r"<!--.*?-->\n?", "", whole[whole.index("<svg") :], flags=re.DOTALL))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int)
    parser.add_argument("--libraries", type=int, nargs="+", default=[640, LIBRARY, 110_939, 443_757])
    parser.add_argument("--picture", type=Path)
    for hidden in ("--part", "--size", "--folder"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        found = measured(options.part, int(options.size), Path(options.folder), queries=options.queries)
        print(json.dumps(found))
        return
    queries = options.queries or 500
    by_queries: Points = {part: {} for part in QUERY_PARTS}
    by_library: Points = {part: {} for part in FILE_PARTS}
    for size in sorted({LIBRARY, *options.libraries}):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for made in (vqav2_scale.FILES, "first load", "write embeddings"):
                vqav2_scale.alone(made, folder, size, queries)
            if size in options.libraries:
                for part in FILE_PARTS:
                    by_library[part][size] = alone(part, size, folder, queries)
            if size == LIBRARY:
                for part in QUERY_PARTS:
                    for times in TIMES:
                        by_queries[part][times * queries] = alone(part, times * queries, folder, None)
    for title, points in (("queries", by_queries), ("rows of the library", by_library)):
        sizes = next(iter(points.values()))
        print(text_table(["", *(f"{size:,} {title}" for size in sizes), "growth"], rows_of(points)), "\n")
    if options.picture:
        draw(options.picture, [("queries", by_queries), ("rows of the library", by_library)])


if __name__ == "__main__":
    main()
