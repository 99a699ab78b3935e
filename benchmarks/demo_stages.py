"""What the demo's stages take, by either recipe, and how much of it the models' own passes are.

    python benchmarks/demo_stages.py [--recipes singles beams] [--package FOLDER …] [--runs 1]

Trains the demo's cell in an empty folder, on one thread, then once more when nothing is left to do. The floor is
what the forward passes of the VLM and the encoder take, vision towers included, also where they are called alone;
the rest prepares what they read, decodes, scores, and writes. ``--package`` trains with other trees of ours too,
such as one of an earlier commit, in turns. Seconds of the clock: use a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import icd_assets
from icd_assets.evaluation.tables import text_table

CELL = ["vqa", "demo", "0", "query_img_text_icd_img_text", "rand_sampler", "tiny_vl"]
TIMED = """
import functools, json, os, runpy, sys, time, atexit
from torch import nn

passes, inside, plain = [], [0], nn.Module.__call__

def call(self, *args, **kwargs):
    if inside[0] or not type(self).__module__.startswith("transformers."):
        return plain(self, *args, **kwargs)
    inside[0], began = 1, time.time()
    try:
        return plain(self, *args, **kwargs)
    finally:
        inside[0] = 0
        passes.append((began, time.time() - began))

nn.Module.__call__ = call
atexit.register(lambda: open(os.environ["PASSES"], "w").write(json.dumps(passes)))
sys.argv = ["icd-assets", *sys.argv[1:]]
runpy.run_module("icd_assets.cli", run_name="__main__")
"""


def train(package: Path, recipe: str, folder: Path) -> tuple[dict[str, float], dict[str, float], float]:
    """Of each stage its seconds and those of its passes; and the seconds of a run that finds nothing to do."""
    environment = {**os.environ, "ICD_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": str(package)}
    environment |= {"RESULT_DIR": str(folder / "results"), "PASSES": str(folder / "passes.json")}
    environment["DAGSTER_HOME"] = str(folder)
    (folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    command = [sys.executable, "-c", TIMED, "train", *CELL, "--recipe", recipe]
    subprocess.run(command, check=True, env=environment, cwd=folder, stdout=sys.stderr)
    passes = json.loads((folder / "passes.json").read_text())
    stages: dict[str, float] = {}
    floors: dict[str, float] = {}
    for path in (folder / "results").rglob("*.manifest.json"):
        made = json.loads(path.read_text())
        ended = datetime.fromisoformat(made["created_at"]).timestamp()
        began, stage = ended - made["seconds"], made["want"]["asset"]
        stages[stage] = stages.get(stage, 0) + made["seconds"]
        floors[stage] = floors.get(stage, 0) + sum(took for at, took in passes if began <= at < ended)
    again = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "icd_assets.cli", *command[3:]],
        check=True,
        env=environment,
        cwd=folder,
        stdout=subprocess.DEVNULL,
    )
    return stages, floors, time.monotonic() - again


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="+", default=["singles", "beams"])
    parser.add_argument("--package", type=Path, nargs="*", default=[], help="folders of other trees of icd_assets")
    parser.add_argument("--runs", type=int, default=1)
    options = parser.parse_args()
    packages = [*options.package, Path(icd_assets.__file__).parents[1]]
    for recipe in options.recipes:
        found = [[] for _ in packages]  # type: ignore[var-annotated]
        for _ in range(options.runs):
            for package, runs in zip(packages, found, strict=True):
                with tempfile.TemporaryDirectory() as name:
                    runs.append(train(package, recipe, Path(name)))
        print(f"recipe {recipe}, one thread, seconds, medians of {options.runs}\n")
        lines = []
        for stage in found[-1][0][0]:
            own = [statistics.median(run[0].get(stage, 0.0) for run in runs) for runs in found]
            floor = statistics.median(run[1][stage] for run in found[-1])
            share = f"{100 * floor / own[-1]:.0f} %" if floor else ""
            lines.append([stage, *(f"{value:.1f}" for value in own), f"{floor:.1f}" if floor else "", share])
        again = [statistics.median(run[2] for run in runs) for runs in found]
        lines.append(["nothing to do", *(f"{value:.1f}" for value in again), "", ""])
        names = [f"tree {number}" for number in range(1, len(packages))]
        print(text_table(["stage", *names, "ours", "passes", "share"], lines), "\n", flush=True)


if __name__ == "__main__":
    main()
