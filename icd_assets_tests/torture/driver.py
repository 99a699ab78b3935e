"""Runs cases: ``python -m icd_assets_tests.torture.driver FOLDER < cases.json``, one line of JSON per result.

A case is an asset and a fault. Its workplace is what a clean run had when that asset began.
Each process is a fork of this one, which has the slow libraries imported already: a second instead of ten.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import transformers.models.clip.modeling_clip
import transformers.models.qwen2_5_vl.modeling_qwen2_5_vl  # noqa: F401

from icd_assets.experiment.steps import STEPS
from icd_assets.store.digests import sha256_file
from icd_assets.store.store import Store
from icd_assets_tests.torture import faults
from icd_assets_tests.torture.faults import Fault
from icd_assets_tests.worlds.workplace import CELL, KEY, new_workplace, shrink

# What the cases of one driver are of: the chain of rewards on queries of its own, or Lever-Plus'.
LABELS = os.environ.get("TORTURE_RECIPE") == "rl"
RECIPE = {"RECIPE": "rl"} if LABELS else {"RECIPE": "beams", "RCE_EPOCHS": "3", "GRPO_EPOCHS": "2"}
# The same recipe as Dagster's Launchpad takes it.
LAUNCHPAD: dict[str, dict[str, Any]] = {
    "rce_checkpoints": {"rce_epochs": 3},
    "grpo_checkpoints": {"grpo_epochs": 2},
    "v2format_checkpoint": {"source": "grpo"},
}
_PATIENCE_SECONDS = 300
_GRACE_SECONDS = 10
_PROCESSES = itertools.count()
# After these, the records of the run may be left open.
_UNSEEN = ("kill", "kill_parent", "kill_group", "fill", "inodes", "readonly", "stop")
_ON_DISK = ("fill", "inodes", "readonly")  # where the results lie on a disk of their own
SITE = Path(__file__).with_name("site")


class Workshop:
    """``clean`` is a whole run; ``before`` holds the results as they were when each asset began; ``home`` is an
    instance of Dagster that has seen nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clean, self.before, self.home = folder / "clean", folder / "before", folder / "home"

    def prepare(self, last: str) -> None:
        """Everything up to the asset ``last``."""
        place = new_workplace(self.clean)
        shrink(place)

        self.home.mkdir()
        for name in ("dagster.yaml", "workspace.yaml"):
            shutil.copy(self.clean / name, self.home / name)
        # In this process, for the sake of what it imports.
        with dg.DagsterInstance.from_config(str(self.home)) as instance:
            instance.get_runs(limit=1)
            instance.get_asset_keys()
            instance.all_instigator_state()

        def snapshot(arguments: tuple[Any, ...]) -> None:
            shutil.copytree(place.results, self.before / arguments[2].asset)
            faults.count(self.clean / "asked", 0)  # ends the batches of the asset before

        def train() -> None:
            faults.wrap("icd_assets.store.store:Store.staging", snapshot, after=False)
            faults.arm(None, self.clean / "asked")
            command_line("train", *CELL, "--to", last)

        code, output, errors = process(train, self.clean)
        assert code == 0, output + errors
        if last == "evaluation":
            shutil.copytree(place.results, self.before / "leaderboard")
            (self.before / "leaderboard" / "leaderboard.json").unlink()
        self.asked = self._clean_asked()

    def _clean_asked(self) -> dict[str, int]:
        """How many prompts a clean run asks from the beginning of each asset to its end, of what leads to it:
        rl_queries begins before the labels, which the command that is to end with it makes all the same."""
        sums = [0]
        for count in counts(self.clean / "asked"):
            sums = [*sums, 0] if count == 0 else [*sums[:-1], sums[-1] + count]
        order = [step.name for step in STEPS if (self.before / step.name).is_dir()]
        began = sorted(order, key=lambda name: (self.before / name).stat().st_ctime_ns)
        own = dict(zip(began, sums[1:], strict=False))
        asked = {"leaderboard": 0}
        for place, name in enumerate(began):
            leading = order[: order.index(name) + 1]
            asked[name] = sum(own[later] for later in began[place:] if later in leading)
        return asked

    def run(self, case: Mapping[str, Any]) -> dict[str, Any]:
        began = time.monotonic()
        disk = self.folder / "disk"
        asset, way = case["asset"], case["fault"]["then"]
        work = disk / "work" if case.get("all_on_disk") else self.folder / "work"
        results = disk / "work" / "results" if way in _ON_DISK else work / "results"
        fault = Fault(**case["fault"], disk=str(disk), results=str(results))
        for old in {work, results.parent}:
            shutil.rmtree(old, ignore_errors=True)
        faults.stopped(disk).unlink(missing_ok=True)
        self._furnish(work)
        shutil.copytree(self.before / asset, results, ignore=shutil.ignore_patterns("locks", "staging", "unsaid"))
        variables = {"RESULT_DIR": str(results)}
        there = files(results)
        first, meanwhile = self._first(case, fault, work, variables)
        orphans = alive(work)
        unseen = way in _UNSEEN or (way.startswith("hup") and "by" in case)  # Dagster's commands know no SIGHUP
        open_runs = None if unseen else records(work, asset)["open_runs"]
        faults.relieve(disk, results)
        broken = contract(results)
        written = sorted({*files(results)} ^ {*there})
        asked = self.folder / "asked"
        second = meanwhile if case.get("meanwhile") == "goes on" and meanwhile else None
        second = second or process(lambda: again(asset, asked), work, variables)
        return {
            "case": case["name"],
            "first": first,
            "meanwhile": meanwhile,
            "open_runs_after_first": open_runs,
            "broken": broken,
            "written": written,
            "second": second,
            "different": different(self.clean / "results", results, asset) if second[0] == 0 else None,
            "left": leftovers(results),
            "orphans": [*orphans, *alive(work)],
            "disorder": disorder(results),
            "asked": counts(asked),
            "asked_clean": self.asked[asset],
            "records": records(work, asset),
            "seconds": round(time.monotonic() - began, 1),
        }

    def _furnish(self, work: Path) -> None:
        shutil.copytree(self.home, work)
        (work / "datasets").symlink_to(self.clean / "datasets")

    def _first(
        self, case: Mapping[str, Any], fault: Fault, work: Path, variables: dict[str, str]
    ) -> tuple[Ended, Ended | None]:
        """How the command ended that was struck; and the one that came while it was stopped, if it was."""
        asset, asked = case["asset"], self.folder / "asked"
        asked.unlink(missing_ok=True)
        by = case.get("by") or ("materialize" if fault.then == "kill_parent" else "train")
        if by == "train":

            def struck() -> None:
                faults.arm(fault, asked)
                again(asset, None)

            running = Process(struck, work, variables)
        else:
            arguments = _materialize(asset, variables) if by == "materialize" else _job(case["job"], variables)

            def worker() -> None:
                from dagster._cli import cli

                if fault.in_worker:
                    faults.arm(fault, asked)
                cli(arguments)

            path = f"{SITE}{os.pathsep}{os.environ['PYTHONPATH']}"
            extra = {"DAGSTER_HOME": str(work), "PYTHONPATH": path}
            if not fault.in_worker:
                extra |= faults.environment(fault, asked)
            running = Process(worker, work, variables | extra)
        if fault.then != "stop":
            return running.ended(), None
        return self._stopped(running, case, faults.stopped(Path(fault.disk)), work, variables)

    def _stopped(
        self, first: Process, case: Mapping[str, Any], mark: Path, work: Path, variables: dict[str, str]
    ) -> tuple[Ended, Ended | None]:
        """Once the first has stopped: another comes and waits for it. Then either it ends and the first goes on,
        or the first is killed and the other goes on."""
        asset, asked = case["asset"], self.folder / "asked"
        first.wait_until(mark.exists)
        other = Process(lambda: again(asset, asked), work, variables)
        other.wait_until(lambda: "waiting: " in other.output())
        if case["meanwhile"] == "goes on":
            os.killpg(first.pid, signal.SIGKILL)
            return first.ended(), other.ended()
        time.sleep(case.get("for_seconds", 0.0))
        os.kill(other.pid, signal.SIGTERM)
        meanwhile = other.ended()
        os.kill(int(mark.read_text()), signal.SIGCONT)
        return first.ended(), meanwhile


def _shared(variables: Mapping[str, str]) -> dict[str, Any]:
    return {"shared": {"config": {"results_root": variables["RESULT_DIR"], "recipe": RECIPE["RECIPE"]}}}


def _materialize(asset: str, variables: Mapping[str, str]) -> list[str]:
    """The arguments of ``dagster``."""
    config: dict[str, Any] = {"resources": _shared(variables)}
    if asset in LAUNCHPAD:
        config["ops"] = {asset: {"config": LAUNCHPAD[asset]}}
    arguments = ["asset", "materialize", "-m", "icd_assets.definitions", "--select", asset]
    arguments += ["--config-json", json.dumps(config)]
    return arguments if asset == "leaderboard" else [*arguments, "--partition", KEY]


def _job(name: str, variables: Mapping[str, str]) -> list[str]:
    ops = {} if LABELS else {asset: {"config": config} for asset, config in LAUNCHPAD.items()}
    path = Path(os.environ["TORTURE"]) / "job.json"  # YAML holds all of JSON
    path.write_text(json.dumps({"resources": _shared(variables), "ops": ops}))
    tags = json.dumps({"dagster/partition": KEY})
    return ["job", "execute", "-m", "icd_assets.definitions", "-j", name, "--tags", tags, "-c", str(path)]


def again(asset: str, asked: Path | None) -> None:
    if asked is not None:
        faults.arm(None, asked)
    command_line("train", *CELL, "--to", "evaluation" if asset == "leaderboard" else asset)


def command_line(*arguments: str) -> None:
    from icd_assets.cli import main

    sys.argv = ["icd-assets", *arguments]
    main()


Ended = tuple[int, str, str]


class Process:
    """``body`` in a process of its own, at work in ``folder`` under ``variables``, with a session of its own."""

    def __init__(self, body: Callable[[], None], folder: Path, variables: Mapping[str, str] | None = None) -> None:
        number = next(_PROCESSES)
        self._out, self._err = (Path(os.environ["TORTURE"]) / f"{name}-{number}" for name in ("stdout", "stderr"))
        self._deadline = time.monotonic() + _PATIENCE_SECONDS
        self._status: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                os.setsid()
                os.chdir(folder)
                signal.signal(signal.SIGINT, signal.default_int_handler)
                signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also where the tests run under nohup
                os.environ.update(RECIPE | dict(variables or {}))
                for descriptor, path in ((1, self._out), (2, self._err)):
                    os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
                body()
                code = 0
            except SystemExit as ended:
                code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
            except BaseException as error:  # noqa: BLE001 — whatever it was, the parent reads it
                traceback.print_exception(error)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)

    def output(self) -> str:
        """What it has printed so far."""
        return self._out.read_text() if self._out.exists() else ""

    def has_ended(self) -> bool:
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid == 0 and time.monotonic() > self._deadline:
                os.killpg(self.pid, signal.SIGKILL)
            self._status = status if pid else None
        return self._status is not None

    def wait_until(self, there: Callable[[], bool]) -> None:
        """Until something is so, or it has ended: then it will not become so."""
        while not there() and not self.has_ended():
            time.sleep(0.02)

    def ended(self) -> Ended:
        """Exit code (negative: the signal), output, errors, once it has ended."""
        self.wait_until(lambda: False)
        assert self._status is not None
        found = os.waitstatus_to_exitcode(self._status), self._out.read_text(), self._err.read_text()
        for path in (self._out, self._err):
            path.unlink()
        return found


def process(body: Callable[[], None], folder: Path, variables: Mapping[str, str] | None = None) -> Ended:
    """Run ``body`` in a process of its own to its end."""
    return Process(body, folder, variables).ended()


def alive(folder: Path) -> list[str]:
    """The processes that work in ``folder``, after some seconds in which those that end have ended."""
    deadline = time.monotonic() + _GRACE_SECONDS
    while (found := _at_work_in(folder)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def _at_work_in(folder: Path) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink().is_relative_to(folder):
                found.append((process / "cmdline").read_text().replace("\0", " ")[:200])
        except OSError:  # it has ended, or is somebody else's
            continue
    return found


def files(root: Path) -> dict[str, tuple[int, int]]:
    """Each file with its size and time of change."""
    found = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): (path.stat().st_size, path.stat().st_mtime_ns) for path in found}


def disorder(results: Path) -> list[str]:
    """Artifacts that took less than no time, or are older than what they are made of."""
    store, found = Store(results), []
    manifests = [made for path in results.rglob("*.manifest.json") if (made := store.read(path)) is not None]
    for made in manifests:
        if made.seconds < 0:
            found.append(f"{made.spec.asset} took {made.seconds} s")
        for name, given in made.spec.inputs.items():
            before = store.read(results / given.manifest) if given.manifest is not None else None
            if before is not None and before.created_at > made.created_at:
                found.append(f"{made.spec.asset} of {made.created_at} is made of {name} of {before.created_at}")
    return found


def contract(results: Path) -> str | None:
    """A manifest exists if and only if its artifact is complete."""
    store = Store(results)
    for path in results.rglob("*.manifest.json"):
        manifest = store.read(path)
        assert manifest is not None
        if (problem := store.damage(manifest)) is not None:
            return problem
    return None


def different(clean: Path, results: Path, asset: str) -> list[str]:
    """The files of the asset that are not, to the byte, a clean run's."""
    if asset == "leaderboard" and not (results / "leaderboard.json").exists():
        return ["leaderboard.json is missing"]
    if asset == "leaderboard":
        have, want = (json.loads((root / "leaderboard.json").read_text()) for root in (results, clean))
        for row in (*have, *want):
            row["evaluated_at"] = ""
        return [] if have == want else ["leaderboard.json"]
    names = []
    for path in clean.rglob("*.manifest.json"):
        manifest = Store(clean).read(path)
        assert manifest is not None
        if manifest.spec.asset != asset:
            continue
        made = Store(results).read(results / path.relative_to(clean))
        assert made is not None
        assert made.facts.get("history") == manifest.facts.get("history")
        names += [f.path for f in manifest.files if sha256_file(results / f.path) != f.sha256]
    return names


def leftovers(results: Path) -> list[str]:
    anywhere = ("*.tmp", "*.pending", "*.previous", "*.kept-*")
    ours = ("staging/*", "locks/*.json")
    found = [path for pattern in anywhere for path in results.rglob(pattern)]
    found += [path for pattern in ours for path in (results / ".icd_assets").glob(pattern)]
    return [str(path.relative_to(results)) for path in found]


def counts(path: Path) -> list[int]:
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def records(work: Path, asset: str) -> dict[str, Any]:
    """What Dagster knows in the end."""

    def look() -> None:
        with dg.DagsterInstance.from_config(str(work)) as instance:
            filters = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset))
            print(
                json.dumps(
                    {
                        "open_runs": sum(not run.is_finished for run in instance.get_runs()),
                        "slots": instance.event_log_storage.get_concurrency_info("gpu").active_slot_count,
                        "materializations": len(instance.fetch_materializations(filters, limit=9).records),
                        "epochs_shown": len(instance.fetch_observations(filters, limit=99).records),
                    }
                )
            )

    code, output, errors = process(look, work)
    assert code == 0, errors
    return dict(json.loads(output))


def main() -> None:
    os.environ["TORTURE"] = sys.argv[1]  # where each process writes: not on the disk that is filled
    workshop = Workshop(Path(sys.argv[1]))
    cases = json.load(sys.stdin)
    evaluated = {"evaluation", "leaderboard"} & {case["asset"] for case in cases}
    workshop.prepare("evaluation" if evaluated else "rl_selector" if LABELS else "v2format_checkpoint")
    for case in cases:
        print(json.dumps(workshop.run(case)), flush=True)


if __name__ == "__main__":
    main()
