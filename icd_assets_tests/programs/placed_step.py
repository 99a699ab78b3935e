"""As a step that an executor placed: works for RUN_ID until it is ended. ``stubborn`` does not mind a signal."""

import signal
import sys
import time

import dagster as dg

from icd_assets.defs.runs.run_watch import end_with_run

with dg.DagsterInstance.get() as instance:
    run = instance.get_run_by_id(sys.argv[1])
    assert run is not None
    if "stubborn" in sys.argv:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    end_with_run(instance, run)
    end_with_run(instance, run)  # each step of a run
    print("at work", flush=True)
    time.sleep(120)
