"""Runs the code of docs/python.md, block after block, where Dagster cannot be imported. Prints, as JSON, the data
version of each step's artifact, and what the last block compared."""

import json
import re
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "python.md"


class NoDagster(MetaPathFinder):
    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0].startswith("dagster"):
            raise ImportError(f"{name} is not installed here")


sys.meta_path.insert(0, NoDagster())
names: dict[str, Any] = {}
for block in re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
    exec(compile(block, PAGE.name, "exec"), names)

from icd_assets.experiment.steps import STEP  # noqa: E402  (after the finder is in place)

manifests = {step: names["experiment"].manifest(step) for step in STEP}
made = {step: manifest.data_version for step, manifest in manifests.items() if manifest is not None}
compared = [row.strategy for row in names["result"].comparison.strategies]
assert not [name for name in sys.modules if name.startswith("dagster")]
print(json.dumps({"made": made, "compared": compared}))
