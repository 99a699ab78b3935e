"""All that this package takes from Dagster's private modules (``dagster._…``), which may change in any release.

The tests run with 1.13.27, the oldest that is allowed. An upgrade has to look at this file; a test holds that no
other module imports them.

``DagsterExecutionInterruptedError``
    What Dagster's handler of SIGINT and SIGTERM raises in a step. Public code can only catch BaseException.
``pop_captured_interrupt``
    Whether a signal came while no step was at work; Dagster raises nothing then, and offers no public question.
``InstanceConcurrencyContext``
    Decides how long a run sleeps while it waits for a slot of a pool (:mod:`~icd_assets.defs.runs.pool_wait`).
``CodeLocationOrigin``, ``ManagedGrpcPythonEnvCodeLocationOrigin``, ``RemoteRepositoryOrigin``
    What a run records of the place of its job (:mod:`~icd_assets.defs.runs.code_location`).
``JobPythonOrigin``, ``ModuleCodePointer``, ``RepositoryPythonOrigin``
    The same for a run that is executed elsewhere (:mod:`~icd_assets.defs.runs.submitted`).
``QueuedRunCoordinator``
    Whether runs that are submitted go into a queue.
``ModuleTarget``, ``WorkspaceFileTarget``
    What ``dagster dev`` makes of ``-m`` and of ``-w``, code locations by name.
``NoOpComputeLogManager``
    Its ``capture_logs`` captures nothing (:mod:`~icd_assets.defs.runs.output`).
``is_valid_cron_schedule``
    Dagster's own check, asked before a schedule is built: its error would not name the catalog's field.
``PreviewWarning``
    To silence it: checks per partition are a preview, and the one way to keep each cell's result.
"""

from __future__ import annotations

from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.remote_origin import (
    CodeLocationOrigin,
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.run_coordinator import QueuedRunCoordinator
from dagster._core.storage.noop_compute_log_manager import NoOpComputeLogManager
from dagster._core.workspace.load_target import ModuleTarget, WorkspaceFileTarget
from dagster._utils.interrupts import pop_captured_interrupt
from dagster._utils.schedules import is_valid_cron_schedule
from dagster._utils.warnings import PreviewWarning

__all__ = [
    "CodeLocationOrigin",
    "DagsterExecutionInterruptedError",
    "InstanceConcurrencyContext",
    "JobPythonOrigin",
    "ManagedGrpcPythonEnvCodeLocationOrigin",
    "ModuleCodePointer",
    "ModuleTarget",
    "NoOpComputeLogManager",
    "PreviewWarning",
    "QueuedRunCoordinator",
    "RemoteRepositoryOrigin",
    "RepositoryPythonOrigin",
    "WorkspaceFileTarget",
    "is_valid_cron_schedule",
    "pop_captured_interrupt",
]
