"""A folder to work in, with a demo small enough to train in a test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

from icd_assets.experiment.catalog import CATALOG

ROOT = Path(__file__).parents[2]
CELL = ["vqa", "demo", "0", "query_img_text_icd_img_text", "rand_sampler", "tiny_vl"]
KEY = "demo|RandSampler/tiny_vl"
# What a command needs of the machine; the tester's own settings and folders are not among it.
_KEPT = ("PATH", "HOME", "LANG", "LC_", "TMPDIR", "PYTHON", "COV", "LD_LIBRARY_PATH")


@dataclass(frozen=True)
class Workplace:
    """A user's folder: Dagster's home, the datasets, the results. Commands run in it as real processes."""

    folder: Path

    @property
    def results(self) -> Path:
        return self.folder / "results"

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name.startswith(_KEPT)}
        return kept | {
            "ICD_CATALOG": str(self.folder / "catalog.yaml"),
            "OMP_WAIT_POLICY": "PASSIVE",
            "PYTHONPATH": str(ROOT),
            "RECIPE": "beams",  # Lever-Plus' chain; a test of another says so
        }

    def run(self, *arguments: str, timeout: float = 300, **variables: str) -> subprocess.CompletedProcess[str]:
        """``icd-assets …``; ``variables`` are added to the environment."""
        return subprocess.run(
            [sys.executable, "-m", "icd_assets.cli", *arguments],
            cwd=self.folder,
            env=self.environment | variables,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def train(self, *flags: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """``icd-assets train`` of the demo's cell."""
        return self.run("train", *CELL, *flags, **variables)


def new_workplace(folder: Path) -> Workplace:
    """The demo with 24 anchors, a handful of epochs and 40 validation questions."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(ROOT / name, folder / name)
    demo = yaml.safe_load(CATALOG.read_text(encoding="utf-8"))["datasets"]["demo"]
    demo |= {
        "sample_num": 24,
        "settings": {
            "beam_data": {"expand": 4},
            "v2_checkpoint": {"epochs": 3, "lr": 0.001},
            **{name: {"updates": 300} for name in ("singles_selector", "sequence_selector", "rl_selector")},
            "step_labels": {"prefixes": 1},
            "rl_queries": {"rows": 24, "validation_rows": 8},
            "evaluation": {"oracle_beams": 1, "oracle_expand": 4, "num_queries": 40},
        },
    }
    (folder / "catalog.yaml").write_text(yaml.safe_dump({"datasets": {"demo": demo}}), encoding="utf-8")
    return Workplace(folder)


def shrink(place: Workplace) -> None:
    """Make it smaller still, for tests that run it dozens of times."""
    path = place.folder / "catalog.yaml"
    catalog = yaml.safe_load(path.read_text(encoding="utf-8"))
    demo = catalog["datasets"]["demo"]
    demo["sample_num"] = 8
    demo["settings"]["evaluation"]["num_queries"] = 12
    path.write_text(yaml.safe_dump(catalog), encoding="utf-8")
