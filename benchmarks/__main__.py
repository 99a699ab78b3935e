"""Everything that docs/performance.md shows, measured now: `make bench`, ten minutes on two quiet cores.

    python benchmarks [--only NAME …] [--write]

Runs the scripts below with settings that keep each to some minutes, prints what they print, and with ``--write``
puts that into the page, between the comments that bear a script's name. Ends with 1 if a script fails; the page
then keeps what it had of it.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "performance.md"
PICTURE = HERE.parent / "docs" / "pictures" / "growth.svg"
SCRIPTS: dict[str, Sequence[str]] = {
    "pointer_arithmetic": ("--queries", "2"),
    "vlm_work": ("--queries", "100", "--beam-queries", "4", "--runs", "3"),
    "training": ("--queries", "400", "--batches", "1", "32", "128", "--runs", "3"),
    "proposals": ("--queries", "400", "--whole", "56", "--runs", "3"),
    "everyday": (),
    "demo_stages": ("--recipes", "singles"),
    "growth": ("--queries", "500", "--picture", str(PICTURE)),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=SCRIPTS, default=list(SCRIPTS), metavar="NAME")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    environment = os.environ | {"PYTHONPATH": str(HERE.parent), "OMP_WAIT_POLICY": "PASSIVE"}
    print(f"{os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}\n")
    failed, began = [], time.monotonic()
    for name in options.only:
        command = [sys.executable, str(HERE / f"{name}.py"), *SCRIPTS[name]]
        start = time.monotonic()
        ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=False)
        print(f"## {name} ({time.monotonic() - start:.0f} s)\n\n{ended.stdout}", flush=True)
        if ended.returncode:
            failed.append(name)
        elif options.write:
            PAGE.write_text(placed(PAGE.read_text(), name, ended.stdout))
    print(f"{(time.monotonic() - began) / 60:.1f} minutes; failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


def placed(page: str, name: str, output: str) -> str:
    """``page`` with ``output`` between ``<!-- name -->`` and ``<!-- end -->``."""
    pattern = rf"(<!-- {name} -->\n).*?(\n<!-- end -->)"
    found, count = re.subn(
        pattern, lambda match: f"{match[1]}\n{output.strip()}\n{match[2]}", page, flags=re.DOTALL
    )
    assert count == 1, f"{PAGE} has no place for {name}"
    return found


if __name__ == "__main__":
    sys.exit(main())
