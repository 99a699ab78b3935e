"""A trained selector in use: the evaluation's choices again, and questions a second from vectors on one core.

    python benchmarks/use_selector.py [DATASET]
    RECIPE=beams GRPO_EPOCHS=1 python benchmarks/use_selector.py

Takes a cell of the demo that is made (``make demo``; for the second line ``icd-assets train demo rand_sampler
tiny_vl`` with the same variables). Every file of its selectors chooses for all validation questions out of
their pools, from vectors, on one thread; what it chooses is compared with what the evaluation asked the model
with. Prints a row for each file. Of Lever-Plus' recipe, whose selectors are checkpoints, the recommended one
is written as a folder with safetensors too.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

import icd_assets
from icd_assets.evaluation.predictions import NAME, read_predictions
from icd_assets.evaluation.report import Comparison
from icd_assets.evaluation.tables import text_table
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.recipes import stages
from icd_assets.selector.selector_file import EncoderName, write_selector
from icd_assets.use.selector import Selector

RUNS = 3


def sources(experiment: Experiment, recommended: str, folder: Path) -> Iterator[tuple[str, Path]]:
    """(strategy of the evaluation, file of its selector); ``folder``: for what is written only to be read here."""
    own = stages(experiment)
    if own:
        yield recommended, experiment.paths.selector(own[-1])
    else:
        yield "v2 (SFT)", experiment.files("v2_checkpoint")[0]
        if experiment.manifest("grpo_checkpoints") is not None:
            yield "RCE", experiment.files("rce_checkpoints")[-1]
    if experiment.manifest("v2format_checkpoint") is None:
        return
    converted = experiment.files("v2format_checkpoint")[0]
    yield recommended, converted
    if not own:
        write_selector(
            folder,
            Selector.load(converted).policy,
            stage=recommended,
            encoder_digest=experiment.fact("embeddings", "encoder_digest"),
            encoder=EncoderName(name=experiment.dataset.encoder),
            lineage={},
        )
        yield recommended, folder


def main() -> None:
    dataset = sys.argv[1] if len(sys.argv) > 1 else "demo"
    experiment = icd_assets.open_cell(dataset, "rand_sampler", "tiny_vl")
    files = {path.name: path for path in experiment.files("evaluation")}
    comparison = Comparison.read(files["comparison.json"])
    pools = json.loads(files["validation_pools.json"].read_bytes())
    shown: dict[str, list[tuple[int, ...]]] = {}
    for one in read_predictions(files[NAME], ("strategy", "shots", "demonstrations")).to_pylist():
        if one["shots"] == comparison.compare_shots:
            shown.setdefault(one["strategy"], []).append(tuple(demo["row"] for demo in one["demonstrations"]))
    library, asked = experiment.data.train, len(shown[comparison.recommended])
    queries = experiment.data.validation[:asked]
    torch.set_num_threads(1)
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for strategy, source in sources(experiment, comparison.recommended, Path(folder) / "as_safetensors"):
            selector = Selector.load(source, encoder=experiment.dataset.encoder)
            vectors, offered = selector.embed(queries), selector.embed(library)
            seconds = []
            for _ in range(RUNS):
                start = time.perf_counter()
                chosen = [
                    tuple(pool[at] for at in selector.select(vector, offered[pool], comparison.compare_shots))
                    for vector, pool in zip(vectors, (pools[str(query.row)] for query in queries), strict=True)
                ]
                seconds.append(time.perf_counter() - start)
            same = sum(one == other for one, other in zip(chosen, shown[strategy], strict=True))
            pace = asked / statistics.median(seconds)
            lines.append([source.name, strategy, f"{same} of {asked}", f"{pace:,.0f}"])
    print(text_table(["file", "strategy", "as in the evaluation", "questions a second"], lines))


if __name__ == "__main__":
    main()
