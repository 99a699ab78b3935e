"""The demo over several seeds: the table in the README. ``python benchmarks/demo_seeds.py [--seeds 42 43 44]``

Each seed draws its own anchors, pools, initial weights, dropout and training order, and is a run of its own in
its own folder. Prints, per strategy, each seed's accuracy on the validation split, their mean and standard
deviation, and for RCE and GRPO the smallest of the seeds' paired differences with its 95 % interval.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from icd_assets.evaluation.report import Comparison

_CELL = ["vqa", "demo", "0", "query_img_text_icd_img_text", "rand_sampler", "tiny_vl"]


def run(seed: int, folder: Path) -> Comparison:
    """One seed of the demo, through the command line, as a user runs it."""
    environment = {**os.environ, "RESULT_DIR": str(folder / f"seed{seed}"), "GRPO_EPOCHS": "3"}
    command = [sys.executable, "-m", "icd_assets.cli", "train", *_CELL, "--set", f"shared.seed={seed}"]
    subprocess.run(command, check=True, env=environment, stdout=sys.stderr)
    return Comparison.read(next((folder / f"seed{seed}").glob("demo/icl_inference/*/comparison.json")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 43, 44])
    parser.add_argument("--folder", type=Path, help="keep the results here")
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="demo-seeds-"))
    found = {seed: run(seed, folder) for seed in arguments.seeds}
    first = next(iter(found.values()))
    names = [row.strategy for row in first.strategies if row.shots in (0, first.compare_shots)]
    print(f"validation split, {first.num_queries} questions, {first.compare_shots} shots, accuracy %\n")
    print("| strategy | " + " | ".join(f"seed {seed}" for seed in found) + " | mean ± sd |")
    print("|---|" + "---|" * (len(found) + 1))
    for name in names:
        values = [100 * comparison.row(name).score.value for comparison in found.values()]
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        cells = " | ".join(f"{value:.1f}" for value in values)
        print(f"| {name} | {cells} | {statistics.mean(values):.1f} ± {deviation:.1f} |")
    print()
    for row in first.differences:
        if row.strategy in ("RCE", "GRPO") and row.shots == first.compare_shots:
            same = [
                other.difference
                for comparison in found.values()
                for other in comparison.differences
                if (other.strategy, other.reference, other.shots) == (row.strategy, row.reference, row.shots)
            ]
            worst = min(same, key=lambda gain: gain.value)
            print(
                f"{row.strategy} − {row.reference}: smallest of the seeds {100 * worst.value:+.1f} "
                f"[{100 * worst.low:+.1f}, {100 * worst.high:+.1f}]"
            )


if __name__ == "__main__":
    main()
