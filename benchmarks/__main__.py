"""Everything that docs/performance.md shows, measured now: `make bench`, about ten minutes on two quiet cores.

    python benchmarks [--only NAME …] [--write]

Runs the scripts below with settings that keep each to some minutes and prints what they print. With ``--write``
that goes into docs/measured/, from where the page takes it. Ends with 1 if a script fails; what it printed the
last time then stays.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

HERE = Path(__file__).parent
MEASURED = HERE.parent / "docs" / "measured"
PICTURE = HERE.parent / "docs" / "pictures" / "growth.svg"
SCRIPTS: dict[str, Sequence[str]] = {
    "pointer_arithmetic": ("--queries", "1"),
    "vlm_work": ("--queries", "100", "--beam-queries", "20", "--runs", "3"),
    "training": ("--queries", "50", "--batches", "1", "--runs", "3"),
    "proposals": ("--runs", "3"),
    "everyday": (),
    "demo_stages": ("--recipes", "singles"),
    "growth": ("--queries", "300", "--picture", str(PICTURE)),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=SCRIPTS, default=list(SCRIPTS), metavar="NAME")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    environment = os.environ | {"PYTHONPATH": str(HERE.parent), "OMP_WAIT_POLICY": "PASSIVE"}
    machine = f"{os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}"
    print(f"{machine}\n")
    failed, began = [], time.monotonic()
    for name in options.only:
        command = [sys.executable, str(HERE / f"{name}.py"), *SCRIPTS[name]]
        start = time.monotonic()
        ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=False)
        print(f"## {name} ({time.monotonic() - start:.0f} s)\n\n{ended.stdout}", flush=True)
        if ended.returncode:
            failed.append(name)
        elif options.write:
            (MEASURED / f"{name}.txt").write_text(f"{ended.stdout.strip()}\n\n{machine}.\n")
    print(f"{(time.monotonic() - began) / 60:.1f} minutes; failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
