"""``icd-assets train --launch``: a run in Dagster's queue, followed to its end."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import dagster as dg

from icd_assets.cli.ctrl_c import INTERRUPTED
from icd_assets.cli.echo import echo
from icd_assets.cli.ending import RunFailed, unwinding
from icd_assets.cli.launch import problem
from icd_assets.cli.moving_line import MovingLine
from icd_assets.cli.screen import console
from icd_assets.defs.runs.dead_runs import close_dead_runs
from icd_assets.defs.runs.instance import open_instance
from icd_assets.defs.runs.known_cells import add_cells
from icd_assets.defs.runs.submitted import daemon_at_work, submit
from icd_assets.defs.runs.unrecorded import find_unrecorded, forget_marks
from icd_assets.experiment.plan import Plan
from icd_assets.runtime.progress import duration

_LOOK_SECONDS = 1.0
_CLOSE_EVERY = 5  # looks
_SHOWN = {
    dg.DagsterEventType.STEP_START,
    dg.DagsterEventType.STEP_SUCCESS,
    dg.DagsterEventType.STEP_FAILURE,
    dg.DagsterEventType.ASSET_MATERIALIZATION,
    dg.DagsterEventType.ASSET_CHECK_EVALUATION,
}


def launch_elsewhere(plan: Plan, *, follow: bool) -> str | None:
    """Put what is planned into the queue, and follow it if asked to; its id, or None if there is nothing to do.

    Raises as :func:`icd_assets.cli.launch.launch`. An interrupt ends the command, not the run.
    """
    from icd_assets.definitions import defs

    with unwinding(), open_instance() as opened:
        add_cells(opened, [plan.experiment.cell.key])
        for sentence in close_dead_runs(opened, patient=True):
            console.print(sentence)
        missed = find_unrecorded(opened, plan)
        names = [item.step.name for item in plan.steps if item.reason is not None or item.step.name in missed]
        if not names:
            forget_marks(opened, plan)
            return None
        run_id = submit(opened, Path.cwd(), defs.resolve_implicit_global_asset_job_def(), plan, names)
        console.print(f"run {run_id} is in the queue")
        if not daemon_at_work(opened):
            console.print("note: no daemon is at work; the run starts when icd-assets ui does")
        if not follow:
            return run_id
        try:
            _follow(opened, run_id, len(names))
        except KeyboardInterrupt:
            echo(f"icd-assets: run {run_id} goes on; to stop it: icd-assets ui, Runs, Terminate", err=True)
            raise SystemExit(INTERRUPTED) from None
        forget_marks(opened, plan)
        return run_id


def _follow(opened: dg.DagsterInstance, run_id: str, total: int) -> None:
    """Print a line for each step that begins and ends; raise if the run did not end well."""
    events: list[dg.DagsterEvent] = []
    cursor, looks = None, 0
    with MovingLine("waiting in the queue") as line:
        lines = _Lines(line, total)
        while True:
            run = opened.get_run_by_id(run_id)
            found = opened.get_records_for_run(run_id, cursor, _SHOWN)
            cursor = found.cursor
            for record in found.records:
                event = record.event_log_entry.dagster_event
                if event is not None:
                    events.append(event)
                    lines.add(event, record.timestamp)
            if run is None or (run.is_finished and not found.has_more):
                break
            lines.status(run.status)
            looks += 1
            if looks % _CLOSE_EVERY == 0:
                for sentence in close_dead_runs(opened, only=run_id):
                    line.say(sentence)
            line.raise_problem()
            time.sleep(0 if found.has_more else _LOOK_SECONDS)
    if run is None:
        raise RunFailed(f"run {run_id} was deleted")
    if run.status is dg.DagsterRunStatus.CANCELED:
        raise RunFailed(f"run {run_id} was canceled; what is complete is kept")
    if not run.is_success:
        raise problem(events, run_id)


class _Lines:
    """What a run's events look like as they come."""

    def __init__(self, line: MovingLine, total: int) -> None:
        self._line, self._total, self._count = line, total, 0
        self._since: dict[str, float] = {}
        self._kept: set[str] = set()

    def status(self, status: dg.DagsterRunStatus) -> None:
        if status is not dg.DagsterRunStatus.QUEUED:
            self._line.work = f"{', '.join(self._since) or 'between two steps'}: at work"

    def add(self, event: dg.DagsterEvent, at: float) -> None:
        step = event.step_key or ""
        match event.event_type:
            case dg.DagsterEventType.STEP_START:
                self._since[step] = at
                self._line.say(f"      {step}: at work")
            case dg.DagsterEventType.ASSET_MATERIALIZATION:
                if _skipped(event):
                    self._kept.add(step)
            case dg.DagsterEventType.STEP_SUCCESS | dg.DagsterEventType.STEP_FAILURE:
                lasted = duration(at - self._since.pop(step, at))
                if event.is_step_failure:
                    self._line.say(f"      {step}: failed after {lasted}")
                    return
                self._count += 1
                how = "unchanged, kept" if step in self._kept else f"ended after {lasted}"
                self._line.say(f"[{self._count}/{max(self._total, self._count)}] {step}: {how}")


def _skipped(event: dg.DagsterEvent) -> bool:
    with suppress(AttributeError):
        metadata: Any = event.step_materialization_data.materialization.metadata
        return "skipped" in metadata and bool(metadata["skipped"].value)
    return False
