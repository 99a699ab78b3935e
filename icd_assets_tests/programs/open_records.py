"""Opens Dagster's records of the home HOME for each line that comes in; answers by ``opened`` or the error."""

import os
import sys

os.environ["DAGSTER_HOME"] = sys.argv[1]
from icd_assets.defs.runs.instance import open_instance

for _ in sys.stdin:
    try:
        with open_instance() as opened:
            storages = (opened.run_storage, opened.event_log_storage, opened.schedule_storage)
            versions = {version for one in storages for version in one.alembic_version() or ()}
            assert len(versions) == 1, versions
            opened.get_runs(limit=1)
            answer = "opened"
    except Exception as error:  # noqa: BLE001 - it is the answer
        answer = repr(error)
    print(answer, flush=True)
