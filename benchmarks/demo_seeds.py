"""The demo over several seeds, by ``icd-assets train --seeds``: ``python benchmarks/demo_seeds.py 42,43,44``

Each seed draws its own anchors, pools, initial weights, dropout and training order. Prints the table over them in
Markdown, for the README; what was made stays in the results folder.
"""

from __future__ import annotations

import os
import subprocess
import sys

from icd_assets.cli.seeds import read_evaluations
from icd_assets.experiment.open_cell import open_cell
from icd_assets.experiment.seeds import of_seeds, read_seeds

_CELL = ("demo", "rand_sampler", "tiny_vl")


def main() -> None:
    text = sys.argv[1] if len(sys.argv) > 1 else "42,43,44"
    os.environ.setdefault("GRPO_EPOCHS", "3")
    command = [sys.executable, "-m", "icd_assets.cli", "train", *_CELL, "--seeds", text]
    subprocess.run(command, check=True, stdout=sys.stderr)
    over, _ = read_evaluations(of_seeds(open_cell(*_CELL), read_seeds(text)))
    print(over.markdown())


if __name__ == "__main__":
    main()
