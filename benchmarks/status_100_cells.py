"""How long a look at 100 cells × 9 assets takes, against hashing every file of theirs anew.

    python benchmarks/status_100_cells.py [--kib 256]

Each figure is a process of its own, from the start of Python to its end: the best of five. The artifacts are small
files with true manifests; real ones only make the last line longer.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from icd_assets_tests.lineage.world import KEY, World, hundred_cells

RUNS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kib", type=int, default=256, help="size of each file")
    kib = parser.parse_args().kib
    with tempfile.TemporaryDirectory() as folder:
        world = hundred_cells(Path(folder), kib * 1024)
        files = [path for path in world.root.rglob("*") if path.is_file() and ".icd_assets" not in path.parts]
        print(f"100 cells, {len(files)} files, {sum(path.stat().st_size for path in files) / 2**20:.0f} MiB")
        nothing = _seconds(world, "--version")
        status = _seconds(world, "status", "--json")
        chain = _seconds(world, "lineage", KEY, "--json")
        verify = _seconds(world, "verify", runs=1)
    print(f"starting the command at all    {nothing:6.2f} s")
    print(f"icd-assets lineage CELL        {chain:6.2f} s")
    print(f"icd-assets status              {status:6.2f} s")
    print(f"icd-assets verify              {verify:6.2f} s   {verify / status:.1f} × status")


def _seconds(world: World, *arguments: str, runs: int = RUNS) -> float:
    environment = {**os.environ, "DAGSTER_HOME": str(world.folder), "RESULT_DIR": str(world.root)}
    environment["ICD_CATALOG"] = str(world.folder / "catalog.yaml")
    environment["PYTHONPATH"] = str(Path(__file__).parents[1])
    best = float("inf")
    for _ in range(runs):
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "icd_assets.cli", *arguments],
            cwd=world.folder,
            env=environment,
            check=True,
            capture_output=True,
        )
        best = min(best, time.perf_counter() - began)
    return best


if __name__ == "__main__":
    main()
