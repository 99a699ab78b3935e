"""Begins to write FILE, and never ends."""

import sys
import time
from pathlib import Path

from icd_assets.store.atomic import replacing

with replacing(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    time.sleep(3600)
