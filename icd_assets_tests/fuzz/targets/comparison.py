"""``comparison.json`` of an evaluation: read, and shown as a table."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from icd_assets.evaluation.report import Comparison

SUFFIX = ".json"


def seeds() -> Iterable[bytes]:
    score = {"value": 0.5, "low": 0.25, "high": 0.75}
    row = {"score": score, "copy_rate": None, "gold_shown_rate": None}
    difference = {"difference": score, "changed": 3, "p_value": 0.5, "p_holm": 0.5, "detectable": 0.125}
    content = {
        "num_queries": 4,
        "num_images": 4,
        "compare_shots": 2,
        "seed": 1,
        "metric": "accuracy",
        "recommended": "RCE",
        "strategies": [
            {"strategy": "RCE", "shots": 2, **row, "prompts": 12},
            {"strategy": "random", "shots": 2, **row, "num_queries": 2},
        ],
        "differences": [{"strategy": "RCE", "reference": "random", "shots": 2, **difference}],
        "kinds": [{"strategy": "RCE", "kind": "yes/no", "num_queries": 2, "score": score}],
    }
    yield json.dumps(content).encode()


def read(path: Path) -> object:
    return Comparison.read(path).markdown()
