"""Reads the JSON file PATH with 1 GiB of memory; prints why it was refused."""

import resource
import sys
from pathlib import Path

resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))

from icd_assets.datasets.json_file import read_json  # noqa: E402
from icd_assets.errors import UserError  # noqa: E402

try:
    read_json(Path(sys.argv[1]))
except UserError as error:
    print(error)
