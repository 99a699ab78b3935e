"""Writes 40 files named NAME0, NAME1, … into FOLDER, and the digest of each into one cache."""

import sys
from pathlib import Path

from icd_assets.store.digests import DigestCache

folder, name = Path(sys.argv[1]), sys.argv[2]
for number in range(40):
    file = folder / f"{name}{number}"
    file.write_text(str(number))
    DigestCache(folder / "digests.json").file(file)
