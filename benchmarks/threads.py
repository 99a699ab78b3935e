"""The demo on several numbers of threads: the same bytes, and how long it took.

``python benchmarks/threads.py [--threads 1 2 4] [--wait-policy PASSIVE ACTIVE] [--folder KEEP]``

Each run is the whole demo in a folder of its own, with ICD_THREADS and the variables of OpenMP, MKL and OpenBLAS.
Prints the machine, then by artifact and run the seconds and the SHA-256 (over its files' SHA-256, in order), then
each run's time over the first one's. Ends with 1 if an artifact's bytes differ.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

from icd_assets.experiment.steps import STEPS
from icd_assets.store.digests import sha256_json
from icd_assets.store.manifest import Manifest

_COUNTS = ("ICD_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_CELL = ["vqa", "demo", "0", "query_img_text_icd_img_text", "rand_sampler", "tiny_vl"]


def run(threads: int, wait_policy: str, folder: Path) -> tuple[dict[str, Manifest], float]:
    """Asset → manifest of a demo made with so many threads, and the seconds of the whole command."""
    environment = {
        **os.environ,
        **dict.fromkeys(_COUNTS, str(threads)),
        "OMP_WAIT_POLICY": wait_policy,
        "RESULT_DIR": str(folder),
        "GRPO_EPOCHS": "3",
    }
    began = time.monotonic()
    command = [sys.executable, "-m", "icd_assets.cli", "train", *_CELL]
    subprocess.run(command, check=True, env=environment, stdout=sys.stderr)
    seconds = time.monotonic() - began
    manifests = [Manifest.model_validate_json(path.read_bytes()) for path in folder.rglob("*.manifest.json")]
    return {manifest.spec.asset: manifest for manifest in manifests}, seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--wait-policy", nargs="+", default=["PASSIVE"])
    parser.add_argument("--folder", type=Path, help="keep the results here")
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="threads-"))
    found = {
        (threads, policy): run(threads, policy, folder / f"{threads}-{policy.lower()}")
        for threads, policy in product(arguments.threads, arguments.wait_policy)
    }
    first, first_seconds = next(iter(found.values()))
    print("  ".join(f"{name} {value}" for name, value in first["evaluation"].environment.items()), "\n")
    print("| artifact | threads | seconds | sha256 | |\n|---|---|---|---|---|")
    same = True
    for step in STEPS:
        digests = {}
        for (threads, policy), (manifests, _) in found.items():
            manifest = manifests[step.name]
            digest = digests[threads, policy] = sha256_json([record.sha256 for record in manifest.files])
            word = "" if digest == next(iter(digests.values())) else "differs"
            same &= not word
            print(f"| {step.name} | {threads} {policy} | {manifest.seconds} | {digest} | {word} |")
    print()
    for (threads, policy), (_, seconds) in found.items():
        print(f"{threads} threads, {policy}: {seconds:.0f} s, {seconds / first_seconds:.2f} of the first")
    print("the same bytes" if same else "bytes differ")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
