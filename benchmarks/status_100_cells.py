"""How long a look at 100 cells × 9 assets takes, against hashing every file of theirs anew.

    python benchmarks/status_100_cells.py [--kib 512]

Each figure is a process of its own, from the start of Python to its end, the best of five: seconds on the wall,
and of a processor. The artifacts are small files with true manifests; real ones only make the last line longer.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from icd_assets_tests.worlds.manifests import KEY, World, hundred_cells

RUNS = 5
COMMANDS = {
    "starting the command at all": ("--version",),
    "icd-assets lineage CELL": ("lineage", KEY, "--json"),
    "icd-assets status": ("status", "--json"),
    "icd-assets verify (reads it all)": ("verify",),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kib", type=int, default=512, help="size of each file")
    kib = parser.parse_args().kib
    with tempfile.TemporaryDirectory() as folder:
        world = hundred_cells(Path(folder), kib * 1024)
        files = [path for path in world.root.rglob("*") if path.is_file() and ".icd_assets" not in path.parts]
        print(f"100 cells, {len(files)} files, {sum(path.stat().st_size for path in files) / 2**20:.0f} MiB")
        for name, arguments in COMMANDS.items():
            wall, cpu = seconds_of(world, *arguments)
            print(f"{name:<34}{wall:6.2f} s {cpu:6.2f} s CPU")


def seconds_of(world: World, *arguments: str) -> tuple[float, float]:
    environment = {**os.environ, "DAGSTER_HOME": str(world.folder), "RESULT_DIR": str(world.root)}
    environment["ICD_CATALOG"] = str(world.folder / "catalog.yaml")
    environment["PYTHONPATH"] = str(Path(__file__).parents[1])
    walls, processors = [], []
    for _ in range(RUNS):
        began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "icd_assets.cli", *arguments],
            cwd=world.folder,
            env=environment,
            check=True,
            capture_output=True,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        walls.append(time.perf_counter() - began)
        processors.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(walls), min(processors)


if __name__ == "__main__":
    main()
