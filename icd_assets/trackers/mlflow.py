"""MLflow: an SQLite file of our own, or the server that ``MLFLOW_TRACKING_URI`` names."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping

from icd_assets.trackers.interface import PROJECT, TrackedRun

_TAG = "icd_assets.run"
_AT_ONCE = 100  # parameters, as MLflow's interface allows
_LONGEST = 500  # characters of a value that every version takes
_SUMMARY = 0  # the step of numbers of the whole run; epochs count from 1


class _Mlflow:
    def __init__(self, run: TrackedRun) -> None:
        # A server that is gone is given up after seconds, not after minutes; the user's own values win.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # the password in it, too
        from mlflow import MlflowClient
        from mlflow.entities import Param

        uri = os.environ.get("MLFLOW_TRACKING_URI") or _own_file(run)
        self._client = MlflowClient(tracking_uri=uri)
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        known = self._client.get_experiment_by_name(name)
        place = None if "MLFLOW_TRACKING_URI" in os.environ else (run.folder / "mlartifacts").as_uri()
        experiment = known.experiment_id if known is not None else self._client.create_experiment(name, place)
        self._id = self._run_id(experiment, run)
        self._there = self._steps()
        params = [Param(key, str(value)[:_LONGEST]) for key, value in run.config.items()]
        for start in range(0, len(params), _AT_ONCE):
            self._client.log_batch(self._id, params=params[start : start + _AT_ONCE])
        shown = uri if uri.startswith("http") else uri.removeprefix("sqlite:///")
        self.link = f"{shown.rstrip('/')}/#/experiments/{experiment}/runs/{self._id}"

    def log(self, epoch: int, metrics: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        named = {_name(name): float(value) for name, value in metrics.items()}
        new = {name: value for name, value in named.items() if (name, epoch) not in self._there}
        now = int(time.time() * 1000)
        self._client.log_batch(self._id, [Metric(name, value, now, epoch) for name, value in new.items()])

    def summarize(self, scores: Mapping[str, float]) -> None:
        self.log(_SUMMARY, {f"summary/{name}": value for name, value in scores.items()})

    def close(self, *, complete: bool) -> None:
        self._client.set_terminated(self._id, "FINISHED" if complete else "KILLED")

    def _run_id(self, experiment: str, run: TrackedRun) -> str:
        """MLflow chooses the ids of runs: ours is found by its tag."""
        found = self._client.search_runs([experiment], f"tags.`{_TAG}` = '{run.id}'", max_results=1)
        if not found:
            tags = {_TAG: run.id, "group": run.group}
            return str(self._client.create_run(experiment, tags=tags, run_name=run.name).info.run_id)
        self._client.update_run(found[0].info.run_id, status="RUNNING")
        return str(found[0].info.run_id)

    def _steps(self) -> set[tuple[str, int]]:
        """(metric, epoch) of all that is there: to MLflow the same number at another time is another point."""
        names = self._client.get_run(self._id).data.metrics
        return {(name, one.step) for name in names for one in self._client.get_metric_history(self._id, name)}


def _own_file(run: TrackedRun) -> str:
    run.folder.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{run.folder}/mlflow.db"


def _name(metric: str) -> str:
    """With nothing that MLflow refuses in a name."""
    return re.sub(r"[^\w\-. :/]", "_", metric, flags=re.ASCII)


open_run = _Mlflow
