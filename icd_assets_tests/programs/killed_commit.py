"""Commits "two" as the manifest PATH of the store ROOT, and kills itself before it moves a file to the name AT."""

import os
import signal
import sys
from pathlib import Path

from icd_assets.store.store import Store
from icd_assets_tests.store.test_store import commit, spec_of

root, path, killed_at = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
move = Path.replace


def move_or_die(self: Path, target: Path) -> Path:
    if Path(target).name == killed_at:
        os.kill(os.getpid(), signal.SIGKILL)
    return move(self, target)


Path.replace = move_or_die  # type: ignore[assignment, method-assign]
commit(Store(root), path, "two", spec_of(config={"num_beams": 7}))
