"""A trained selector in use: the evaluation's choices again, and questions a second from vectors on one core.

    python benchmarks/use_selector.py [DATASET]

Takes the demo's cell, which must be made (``make demo``). Every file of its recommended selector chooses for all
validation questions out of their pools, from vectors, on one thread; what it chooses is compared with what the
evaluation asked the model with. Prints a row for each file.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Mapping
from typing import Any

import torch

import icd_assets
from icd_assets.evaluation.predictions import NAME, read_predictions
from icd_assets.evaluation.report import Comparison
from icd_assets.evaluation.tables import text_table
from icd_assets.experiment.recipes import stages
from icd_assets.use.selector import Selector

RUNS = 3


def rows(prediction: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(shown["row"] for shown in prediction["demonstrations"])


def main() -> None:
    dataset = sys.argv[1] if len(sys.argv) > 1 else "demo"
    experiment = icd_assets.open_cell(dataset, "rand_sampler", "tiny_vl")
    files = {path.name: path for path in experiment.files("evaluation")}
    comparison = Comparison.read(files["comparison.json"])
    pools = json.loads(files["validation_pools.json"].read_bytes())
    records = read_predictions(files[NAME], ("strategy", "shots", "demonstrations")).to_pylist()
    wanted = (comparison.recommended, comparison.compare_shots)
    shown = [rows(one) for one in records if (one["strategy"], one["shots"]) == wanted]
    library, queries = experiment.data.train, experiment.data.validation[: len(shown)]
    own = stages(experiment)
    sources = [experiment.paths.selector(own[-1])] if own else []
    if experiment.manifest("v2format_checkpoint") is not None:
        sources.append(experiment.files("v2format_checkpoint")[0])
    torch.set_num_threads(1)
    lines = []
    for source in sources:
        selector = Selector.load(source, encoder=experiment.dataset.encoder)
        asked, offered = selector.embed(queries), selector.embed(library)
        seconds = []
        for _ in range(RUNS):
            start = time.perf_counter()
            chosen = [
                tuple(pool[at] for at in selector.select(vector, offered[pool], comparison.compare_shots))
                for vector, pool in zip(asked, (pools[str(query.row)] for query in queries), strict=True)
            ]
            seconds.append(time.perf_counter() - start)
        same = sum(one == other for one, other in zip(chosen, shown, strict=True))
        pace = len(queries) / statistics.median(seconds)
        lines.append([source.name, f"{same} of {len(shown)}", f"{pace:,.0f}"])
    print(text_table(["file", "as in the evaluation", "questions a second"], lines))


if __name__ == "__main__":
    main()
