"""trackio: a project's SQLite file, in ``TRACKIO_DIR`` or in a folder of our own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import redirect_stdout
from io import StringIO

from icd_assets.trackers.interface import PROJECT, TrackedRun

_SUMMARY = 0  # the step of numbers of the whole run; epochs count from 1


class _Trackio:
    def __init__(self, run: TrackedRun) -> None:
        os.environ.setdefault("TRACKIO_DIR", str(run.folder / "trackio"))  # read when the library is imported
        import trackio
        from trackio.sqlite_storage import SQLiteStorage

        name = f"{run.name}-{run.id}"  # a run goes on by its name
        with redirect_stdout(StringIO()):
            self._run = trackio.init(
                PROJECT,
                name,
                group=run.group,
                config=dict(run.config),
                resume="allow",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
        self._there = {row["step"] for row in SQLiteStorage.get_logs(PROJECT, name)}
        self.link = f"{SQLiteStorage.get_project_db_path(PROJECT)}#{name}"

    def log(self, epoch: int, metrics: Mapping[str, float]) -> None:
        if epoch not in self._there:
            self._run.log(dict(metrics), step=epoch)

    def summarize(self, scores: Mapping[str, float]) -> None:
        if _SUMMARY not in self._there:
            self._run.log({f"summary/{name}": value for name, value in scores.items()}, step=_SUMMARY)

    def close(self, *, complete: bool) -> None:
        import trackio

        with redirect_stdout(StringIO()):
            trackio.finish()  # the current run, which is this one; its own method would be called again at exit


open_run = _Trackio
