"""Which of Dagster's statuses mean that a run has not ended; one list per question."""

from __future__ import annotations

import dagster as dg

_UNDER_WAY = (dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED)

# A run that is being canceled makes nothing any more.
TO_MAKE_SOMETHING = [dg.DagsterRunStatus.QUEUED, *_UNDER_WAY]
# A run in the queue has no process yet.
WITH_A_PROCESS = [*_UNDER_WAY, dg.DagsterRunStatus.CANCELING]
