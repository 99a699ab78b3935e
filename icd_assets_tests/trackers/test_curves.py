"""Each tracker for real: a training killed between the journal and the tracker goes on as one run, one curve."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from icd_assets_tests.programs import program
from icd_assets_tests.worlds import wandb_file

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy"),  # of MLflow's own tables
]

_METRIC = "val_expected_reward"
_UNSET = (
    "WANDB_MODE",
    "WANDB_DIR",
    "WANDB_PROJECT",
    "MLFLOW_TRACKING_URI",
    "MLFLOW_EXPERIMENT_NAME",
    "TRACKIO_DIR",
)
Curve = list[tuple[int, float]]  # (epoch, value), in the order of the file


@dataclass(frozen=True)
class Run:
    """One run as a tracker has it: its curve, two of its settings, and the epoch that was kept."""

    curve: Curve
    config: dict[str, Any]
    best_epoch: float


def trained(folder: Path, trackers: str, killed_after: int = 0, **variables: str) -> dict[str, Any]:
    """A process that trains; what it printed last, empty if it was to be killed."""
    environment = {name: value for name, value in os.environ.items() if name not in _UNSET}
    environment |= {"TRACKERS": trackers, "KILLED_AFTER": str(killed_after), **variables}
    ended = subprocess.run(
        program("tracked_training", str(folder)), env=environment, capture_output=True, text=True, timeout=120
    )
    if killed_after:
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        return {}
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    return {**json.loads(lines[-1]), "log": lines[:-1]}


def tensorboard(folder: Path, link: str) -> list[Run]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = []
    for run in sorted({file.parent for file in (folder / "tensorboard").rglob("events*")}):
        assert run == folder.parent / link
        read = EventAccumulator(str(run)).Reload()
        text = read.Tensors("config/text_summary")[-1].tensor_proto.string_val[0].decode()
        config = dict(line.strip("| ").split(" | ") for line in text.splitlines()[2:])
        found.append(
            Run(
                [(one.step, one.value) for one in read.Scalars(_METRIC)],
                {name: json.loads(value) for name, value in config.items()},
                read.Scalars("summary/best_epoch")[-1].value,
            )
        )
    return found


def wandb(folder: Path, link: str) -> list[Run]:
    found = []
    for file in sorted((folder / "wandb").glob("offline-run-*/*.wandb")):
        assert file.parent == folder.parent / link
        rows, records = wandb_file.history(file), [*wandb_file.records(file)]
        (begun,) = (record.run for record in records if record.WhichOneof("record_type") == "run")
        config = {item.key: json.loads(item.value_json) for item in begun.config.update}
        ends = [item for record in records for item in record.summary.update if item.key == "best_epoch"]
        curve = [(row["step"], row[_METRIC]) for row in rows if _METRIC in row]
        found.append(Run(curve, config, json.loads(ends[-1].value_json)))
        assert file.stem == f"run-{begun.run_id}"
    return found


def mlflow(folder: Path, link: str) -> list[Run]:
    from mlflow import MlflowClient

    client, found = MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db"), []
    (experiment,) = client.search_experiments(filter_string="name = 'icd-assets'")
    for run in client.search_runs([experiment.experiment_id]):
        assert link.endswith(f"/experiments/{experiment.experiment_id}/runs/{run.info.run_id}")
        points = client.get_metric_history(run.info.run_id, _METRIC)
        assert run.info.status == "FINISHED"
        curve = [(one.step, one.value) for one in points]
        found.append(Run(curve, run.data.params, run.data.metrics["summary/best_epoch"]))
    return found


def trackio(folder: Path, link: str) -> list[Run]:
    """Read in a process of its own, for the library reads TRACKIO_DIR once."""
    code = (
        "import json, trackio; from trackio.sqlite_storage import SQLiteStorage as S; "
        "print(json.dumps([[n, S.get_logs('icd-assets', n), S.get_run_config('icd-assets', n)] "
        "for n in S.get_runs('icd-assets')]))"
    )
    environment = {**os.environ, "TRACKIO_DIR": str(folder / "trackio")}
    read = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    found = []
    for name, rows, config in json.loads(read.stdout):
        assert link.endswith(f"#{name}")
        curve = [(row["step"], row[_METRIC]) for row in rows if _METRIC in row]
        (best,) = (row["summary/best_epoch"] for row in rows if "summary/best_epoch" in row)
        found.append(Run(curve, config, best))
    return found


def installed(name: str, reader: Callable[[Path, str], list[Run]]) -> Any:
    absent = pytest.mark.skipif(find_spec(name) is None, reason=f"{name} is not installed")
    return pytest.param(name, reader, id=name, marks=absent)


READERS = [
    installed("tensorboard", tensorboard),
    installed("wandb", wandb),
    installed("mlflow", mlflow),
    installed("trackio", trackio),
]


@pytest.mark.parametrize(("name", "read"), READERS)
def test_a_killed_training_goes_on_as_one_curve(
    tmp_path: Path, name: str, read: Callable[[Path, str], list[Run]]
) -> None:
    trained(tmp_path, name, killed_after=2)
    trained(tmp_path, name, killed_after=1)  # and again, an epoch later
    made = trained(tmp_path, name)
    history, links = made["facts"]["history"], made["facts"]["trackers"]
    assert list(links) == [name] and not Path(links[name]).is_absolute()
    (run,) = read(tmp_path / "results" / "trackers", links[name])
    assert [epoch for epoch, _ in run.curve] == [1, 2, 3, 4]
    values = [metrics[_METRIC] for metrics in history]
    assert [value for _, value in run.curve] == pytest.approx(values, rel=1e-6)
    assert run.config["asset"] == "rce_checkpoints" and str(run.config["seed"]) == "42"
    assert str(run.config["config.rce_epochs"]) == "5" and run.config["inputs.rl_data"]
    assert run.best_epoch == made["facts"]["best_epoch"]


@pytest.mark.parametrize(("name", "read"), READERS)
def test_a_forced_training_is_another_run(
    tmp_path: Path, name: str, read: Callable[[Path, str], list[Run]]
) -> None:
    first, second = trained(tmp_path, name), trained(tmp_path, name, FORCED="1")
    links = [made["facts"]["trackers"][name] for made in (first, second)]
    assert links[0] != links[1]
    assert first["data_version"] == second["data_version"]


def test_trackers_change_no_bytes_and_without_them_no_facts(tmp_path: Path) -> None:
    plain = trained(tmp_path / "a", "")
    followed = trained(tmp_path / "b", "tensorboard,mlflow")
    assert "trackers" not in plain["facts"]
    assert list(followed["facts"].pop("trackers")) == ["tensorboard", "mlflow"]
    assert followed == {**plain, "log": followed["log"]}


def test_a_tracker_chosen_after_a_kill_has_the_epochs_before_it_too(tmp_path: Path) -> None:
    trained(tmp_path, "", killed_after=2)
    made = trained(tmp_path, "tensorboard")
    (run,) = tensorboard(tmp_path / "results" / "trackers", made["facts"]["trackers"]["tensorboard"])
    assert [epoch for epoch, _ in run.curve] == [1, 2, 3, 4]


def test_a_server_that_is_gone_stops_no_training(tmp_path: Path) -> None:
    made = trained(tmp_path, "mlflow,tensorboard", MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    (line,) = (line for line in made["log"] if "switched off" in line)
    assert line.startswith(
        "rce_checkpoints: the tracker mlflow is switched off for this run, and training goes on: "
    )
    assert list(made["facts"]["trackers"]) == ["tensorboard"] and made["facts"]["epochs"] == 4


def test_who_is_not_logged_in_at_wandb_stays_offline(tmp_path: Path) -> None:
    made = trained(
        tmp_path, "wandb", WANDB_MODE="online", HOME=str(tmp_path), NETRC=str(tmp_path / "none"), WANDB_API_KEY=""
    )
    assert "/offline-run-" in made["facts"]["trackers"]["wandb"]


def test_wandb_whose_server_is_gone_stays_offline(tmp_path: Path) -> None:
    made = trained(
        tmp_path,
        "wandb",
        WANDB_MODE="online",
        WANDB_API_KEY="0" * 40,
        WANDB_BASE_URL="http://127.0.0.1:9",
        HOME=str(tmp_path),
    )
    assert "/offline-run-" in made["facts"]["trackers"]["wandb"]
