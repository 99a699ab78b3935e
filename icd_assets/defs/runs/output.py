"""The command line's steps write to its terminal themselves.

Gap: Dagster (1.13.27) puts files in place of stdout and stderr while a step runs, and starts four processes per
step that copy them to the terminal. Nothing drawn is seen before the step ends, and at Ctrl-C, which a terminal
sends to all processes, two of them print a traceback (``watch_orphans``).
"""

from __future__ import annotations

import dagster as dg

from icd_assets.defs.runs.dagster_private import NoOpComputeLogManager


def leave_output_alone(opened: dg.DagsterInstance) -> None:
    """Runs of ``opened`` in this process do not capture what they print. The UI shows a run's log as ever, which
    has all that a step reports; what captured other runs is still read from where dagster.yaml says."""
    opened.compute_log_manager.capture_logs = NoOpComputeLogManager().capture_logs  # type: ignore[method-assign]
