"""Names, missing libraries, trackers of other packages, and trackers that fail: none of them stops a training."""

from __future__ import annotations

import base64
import json
import logging
import sys
from collections.abc import Mapping
from importlib.metadata import EntryPoint
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from rich.console import Console

from icd_assets.assets import build as building
from icd_assets.assets.build import Run, build
from icd_assets.assets.step_run import Report, StepRun
from icd_assets.cli.tree import tree
from icd_assets.defs.assets.metadata import metadata
from icd_assets.errors import UserError
from icd_assets.experiment.checks.look import Look
from icd_assets.experiment.checks.settings import settings
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.plan import Plan
from icd_assets.experiment.settings import read_settings
from icd_assets.experiment.spec import spec_of
from icd_assets.lineage import Records, find
from icd_assets.lineage.there import flags
from icd_assets.trackers import known
from icd_assets.trackers import trackers as trackers_module
from icd_assets.trackers.interface import TrackedRun
from icd_assets.trackers.trackers import Trackers
from icd_assets_tests.worlds.manifests import World, new_world

ASSET = "candidate_pools"


class Recorder:
    """A tracker of another package; ``fails`` names the method that raises."""

    def __init__(self, run: TrackedRun, fails: str, calls: list[Any]) -> None:
        self.run, self.fails, self.calls = run, fails, calls
        self.link = f"https://tracker.example/{run.id}"
        self._call("open", run)

    def _call(self, name: str, *given: Any) -> None:
        if name == self.fails:
            raise OSError(28, "No space left\non device")
        self.calls.append((name, *given))

    def log(self, epoch: int, metrics: Mapping[str, float]) -> None:
        self._call("log", epoch, dict(metrics))

    def summarize(self, scores: Mapping[str, float]) -> None:
        self._call("summarize", dict(scores))

    def close(self, *, complete: bool) -> None:
        self._call("close", complete)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the tracker ``mine`` is called with, and ``broken_<method>``, which fail at that method."""
    found: list[Any] = []

    def points(group: str) -> list[Any]:
        assert group == "icd_assets.trackers"
        return [Offered(name, "tests", group) for name in NAMES]

    class Offered(EntryPoint):
        def load(self) -> Any:
            fails = self.name.removeprefix("broken_")
            return lambda run: Recorder(run, fails, found if self.name == "mine" else [])

    monkeypatch.setattr(known, "entry_points", points)
    return found


METHODS = ("open", "log", "summarize", "close")
NAMES = ["mine", *(f"broken_{method}" for method in METHODS)]


def two_epochs(run: StepRun) -> Report:
    for epoch in (1, 2):
        run.trackers.log(epoch, {"val_loss": 1 / epoch})
    file = run.staging / "pools.json"
    file.write_text("pools", encoding="utf-8")
    final = run.experiment.manifest_path(ASSET).parent / "pools.json"
    return Report(files={final: file}, facts={"rows": 3, "kept": True, "history": [1]})


def built(
    world: World, monkeypatch: pytest.MonkeyPatch, trackers: str, maker: Any = two_epochs
) -> tuple[Experiment, list[str]]:
    monkeypatch.setattr(building, "maker", lambda asset: maker)
    experiment, log = world.experiment(TRACKERS=trackers), list[str]()
    build(experiment, ASSET, Run("run-1", log.append))
    return experiment, log


def test_a_tracker_of_another_package_is_given_all(
    tmp_path: Path, calls: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment, _ = built(new_world(tmp_path), monkeypatch, "mine")
    (_, run), *rest = calls
    assert rest == [
        ("log", 1, {"val_loss": 1.0}),
        ("log", 2, {"val_loss": 0.5}),
        ("summarize", {"rows": 3}),
        ("close", True),
    ]
    assert run.group == experiment.cell.key and run.name.startswith("candidate_pools-")
    manifest = experiment.manifest(ASSET)
    assert manifest is not None and run.config["spec"] == manifest.spec.digest
    assert run.config["inputs.dataset"] == manifest.spec.digests["dataset"]
    assert manifest.facts["trackers"] == {"mine": f"https://tracker.example/{run.id}"}
    assert metadata(ASSET, manifest, experiment)["tracker/mine"].url == run_link(manifest)
    records = Records(experiment.store)
    (target,) = find([ASSET, experiment.cell.key], records, lambda words: experiment.cell, lambda cell: experiment)
    console = Console(width=200, file=StringIO())
    console.print(tree(target))
    assert f"mine: {run_link(manifest)}" in console.file.getvalue()  # type: ignore[attr-defined]


def run_link(manifest: Any) -> str:
    return str(manifest.tracker_links["mine"])


@pytest.mark.parametrize("method", METHODS)
def test_a_tracker_that_fails_is_switched_off_and_the_others_go_on(
    tmp_path: Path, calls: list[Any], monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    experiment, log = built(new_world(tmp_path), monkeypatch, f"broken_{method},mine")
    assert [call[0] for call in calls] == ["open", "log", "log", "summarize", "close"]
    assert [line for line in log if "switched off" in line] == [
        f"candidate_pools: the tracker broken_{method} is switched off for this run, and training goes on: "
        "[Errno 28] No space left on device"
    ]
    assert list(experiment.facts(ASSET)["trackers"]) == ["mine"]


def test_a_step_that_fails_closes_its_run_as_incomplete(
    tmp_path: Path, calls: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(run: StepRun) -> Report:
        run.trackers.log(1, {"val_loss": 1.0})
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        built(new_world(tmp_path), monkeypatch, "mine", interrupted)
    assert calls[-1] == ("close", False)


def test_a_step_without_numbers_opens_no_run(
    tmp_path: Path, calls: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(run: StepRun) -> Report:
        return two_epochs(run.__class__(**{**run.__dict__, "trackers": Silent()}))

    class Silent:
        def log(self, epoch: int, metrics: Mapping[str, float]) -> None:
            pass

    experiment, _ = built(new_world(tmp_path), monkeypatch, "mine", silent)
    assert calls == [] and "trackers" not in experiment.facts(ASSET)


def test_choosing_a_tracker_makes_nothing_stale(tmp_path: Path) -> None:
    world = new_world(tmp_path)
    made = world.cell()
    chosen = world.experiment(TRACKERS="tensorboard,wandb", GRPO_EPOCHS="3")
    for step in ("rce_checkpoints", "grpo_checkpoints", "evaluation"):
        assert spec_of(chosen, step) == spec_of(made, step)
    assert "TRACKERS" not in flags(chosen, made) and "tracker" not in flags(chosen, made)


@pytest.mark.parametrize("name", ["tensorbord", "../wandb", "os", "wandb;rm"])
def test_an_unknown_name_is_refused_in_one_sentence(name: str) -> None:
    with pytest.raises(UserError) as refused:
        read_settings(environment={"TRACKERS": f"mlflow,{name}"})
    assert str(refused.value) == (
        f"TRACKERS=['mlflow', '{name}']: no tracker is called {name} "
        "(valid: tensorboard, wandb, mlflow, trackio); fix or unset TRACKERS."
    )


def test_names_come_once_each_and_none_from_an_empty_text() -> None:
    chosen = read_settings(environment={"TRACKERS": "wandb, mlflow wandb"}).shared.trackers
    assert chosen == ["wandb", "mlflow"]
    assert read_settings(environment={"TRACKERS": ""}).shared.trackers is None


def test_a_library_that_is_missing_is_named_before_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known, "find_spec", lambda name: None)
    sentence = "trackers names wandb, which is not installed; pip install 'icd-assets[wandb]', or unset it."
    world = new_world(tmp_path)
    (finding,) = settings(Look(Plan.of(world.experiment(TRACKERS="wandb"))))
    assert (finding.level, finding.found) == ("problem", sentence)
    with pytest.raises(UserError) as refused:  # in the UI a step has no plan
        built(world, monkeypatch, "wandb")
    assert str(refused.value) == sentence


@pytest.mark.parametrize("torn", [b"", b"0123", b"../../elsewhere", bytes(range(128, 160))])
def test_an_id_that_is_none_is_replaced(tmp_path: Path, torn: bytes) -> None:
    from icd_assets.assets.tracked import _ID, _id

    (tmp_path / _ID).write_bytes(torn)
    found = _id(tmp_path)
    assert len(found) == 32 and found.isalnum() and _id(tmp_path) == found


def test_links_of_a_foreign_manifest_are_texts_or_none(tmp_path: Path) -> None:
    world = new_world(tmp_path)
    manifest = world.make(world.experiment(), ASSET)
    for foreign in ("text", ["a"], {"wandb": 3}, None):
        assert manifest.model_copy(update={"facts": {"trackers": foreign}}).tracker_links == {}


# ---- keys in what trackers say -----------------------------------------------------------------------

KEY, PASSWORD, OF_NETRC = "wk-9f8E7d6C5b4A3210ffee", "p%40ss/Wörd-42", "netrc-0123456789abcdef"


def echoes(key: str) -> dict[str, str]:
    """As a server, a proxy or a library writes a key back."""
    raw = key.encode()
    return {
        "plain": f"401: bad key {key}",
        "in the header": f"{{'Authorization': 'Basic {base64.b64encode(b'api:' + raw).decode()}'}}",
        "base64": f"sent {base64.b64encode(raw).decode()} to the server",
        "percent": f"GET /login?key={quote(key, safe='')} failed",
        "JSON": json.dumps({"error": {"apiKey": key, "of": "me"}}),
        "JSON in JSON": json.dumps(json.dumps({"apiKey": key})),
        "bytes": repr({b"X-Api-Key": raw}),
        "hexadecimal": f"body {raw.hex()}",
        "on two lines": f"key {key[:8]}\n  {key[8:]}",
        "in an address": f"https://api:{key}@tracker.example/p failed",
        "at the end of a long text": f"{'x' * 9990} {key * 3}",
    }


@pytest.fixture
def keys_of_trackers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[str, ...]:
    """A key in a variable, a password in an address, and one that the tracker's own log-in has left."""
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"https://me:{quote(PASSWORD, safe='')}@tracker.example/mlflow")
    (tmp_path / "netrc").write_text(
        f"machine api.wandb.ai\n  login user\n  password {OF_NETRC}\n", encoding="utf-8"
    )
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    return KEY, PASSWORD, OF_NETRC


@pytest.mark.parametrize("form", echoes(""))
def test_no_key_is_in_what_a_tracker_raises_prints_logs_or_links(
    form: str,
    keys_of_trackers: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    said = [echoes(key)[form] for key in keys_of_trackers]

    class Talkative:
        def __init__(self, run: object) -> None:
            for text in said:
                print(text)
                logging.getLogger("foreign").warning("%s", text)
                try:
                    raise OSError(text)
                except OSError:
                    logging.getLogger("foreign").exception("failed")
                print(text, file=sys.stderr)
            self.link = said[0]

        def log(self, epoch: int, metrics: Mapping[str, float]) -> None:
            raise (RuntimeError, SystemExit)[epoch % 2](said[epoch])

        def close(self, *, complete: bool) -> None:
            raise AssertionError("it was switched off")

    monkeypatch.setattr(trackers_module, "opener", lambda name: Talkative)
    run = TrackedRun("id", "name", "group", {}, Path("/nowhere"))
    foreign, handler = logging.getLogger("foreign"), logging.StreamHandler()  # of a library, made at its import
    monkeypatch.setattr(foreign, "handlers", [handler])
    for epoch in range(len(said)):
        notes: list[str] = []
        trackers = Trackers(["mine"], run, notes.append)
        trackers.summarize_open({})
        trackers._each(lambda tracker: None)  # opened, and nothing asked of it
        link = trackers.links["mine"]
        trackers.log(epoch, {"loss": 1.0})
        trackers.close(complete=True)
        (note,) = notes
        shown = " ".join([link, note, *capfd.readouterr()])
        assert "switched off" in note
        for key in keys_of_trackers:
            for part in (
                key,
                quote(key, safe=""),
                base64.b64encode(key.encode()).decode()[1:-4],
                key.encode().hex(),
            ):
                assert part[:12] not in shown, shown


def test_an_error_that_cannot_be_written_and_a_link_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wild(Exception):
        def __str__(self) -> str:
            raise ValueError(KEY)

    class Tracker:
        link = None

        def __init__(self, run: object) -> None:
            pass

        def log(self, epoch: int, metrics: Mapping[str, float]) -> None:
            raise Wild

    monkeypatch.setattr(trackers_module, "opener", lambda name: Tracker)
    notes: list[str] = []
    trackers = Trackers(["mine"], TrackedRun("id", "name", "group", {}, Path("/nowhere")), notes.append)
    trackers._each(lambda tracker: None)
    assert trackers.links == {"mine": "None"}
    trackers.log(1, {})
    assert notes == ["the tracker mine is switched off for this run, and training goes on: Wild"]
