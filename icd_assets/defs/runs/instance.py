"""Dagster's home as the place where commands work."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from icd_assets.errors import UserError
from icd_assets.runtime.home import find_home

if TYPE_CHECKING:
    import dagster as dg


def enter_home() -> Path:
    """Find DAGSTER_HOME, export it, and go there: relative paths of the catalog and of RESULT_DIR then mean the
    same in a subfolder, in the UI and in the runs that the UI launches."""
    home = find_home()
    if home is None:
        raise UserError(
            f"no dagster.yaml in {Path.cwd()} or above it; run icd-assets in the project's folder, "
            "or set DAGSTER_HOME to a folder that holds one."
        )
    if not (home / "dagster.yaml").is_file():
        raise UserError(f"DAGSTER_HOME={home} holds no dagster.yaml; copy the project's there.")
    os.environ["DAGSTER_HOME"] = str(home)
    os.chdir(home)
    return home


@contextmanager
def open_instance() -> Iterator[dg.DagsterInstance]:
    """The instance at home. Its tables are created here, by one process at a time.

    Gap: two processes that create Dagster's SQLite tables at once (1.13.27) leave an instance that does not open:
    "more than one head present" (#27390).
    """
    import dagster as dg  # a plan does without, and is a second faster

    lock = enter_home() / "storage" / "icd_assets.lock"
    lock.parent.mkdir(exist_ok=True)
    with FileLock(lock):
        found = dg.DagsterInstance.get()
        found.get_runs(limit=1)
        found.get_asset_keys()
        found.all_instigator_state()
    with found:
        yield found
