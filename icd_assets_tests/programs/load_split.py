"""Loads the split of test_columns in FOLDER, and prints how many rows it has."""

import sys
from pathlib import Path

from icd_assets_tests.datasets.test_columns import load

print(len(load(Path(sys.argv[1]))))
