"""Where Dagster keeps its history: DAGSTER_HOME, else the folder that holds ``dagster.yaml``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from icd_assets.errors import UserError


def set_home() -> Path:
    """Find DAGSTER_HOME and export it to this process and its children."""
    if not (named := os.environ.get("DAGSTER_HOME")):
        here = Path.cwd()
        named = next((str(p) for p in (here, *here.parents) if (p / "dagster.yaml").is_file()), None)
        if named is None:
            raise UserError(
                f"no dagster.yaml in {here} or above it; run icd-assets in the project's folder, "
                "or set DAGSTER_HOME to a folder that holds one."
            )
    home = Path(named).absolute()
    if not (home / "dagster.yaml").is_file():
        raise UserError(f"DAGSTER_HOME={home} holds no dagster.yaml; copy the project's there.")
    os.environ["DAGSTER_HOME"] = str(home)
    return home


@contextmanager
def instance() -> Iterator[dg.DagsterInstance]:
    """The instance at home. Its tables are created here, once: two processes that both create them break it."""
    set_home()
    with dg.DagsterInstance.get() as found:
        found.get_runs(limit=1)
        found.get_asset_keys()
        found.all_instigator_state()
        yield found
