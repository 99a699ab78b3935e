"""Runs cases: ``python -m icd_assets_tests.torture.driver FOLDER < cases.json``, one line of JSON per result.

A case is an asset and a fault. Its workplace is what a clean run had when that asset began.
Each process is a fork of this one, which has the slow libraries imported already: a second instead of ten.
"""

from __future__ import annotations

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
_PATIENCE_SECONDS = 120
_UNSEEN = ("kill", "kill_parent", "fill")  # after these, the records of the run may be left open
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
        """How many prompts each asset asks in a clean run."""
        sums = [0]
        for count in counts(self.clean / "asked"):
            sums = [*sums, 0] if count == 0 else [*sums[:-1], sums[-1] + count]
        made = [step for step in STEPS if (self.before / step.name).is_dir()]
        made.sort(key=lambda step: (self.before / step.name).stat().st_ctime_ns)
        return dict(zip((step.name for step in made), sums[1:], strict=False)) | {"leaderboard": 0}

    def run(self, case: Mapping[str, Any]) -> dict[str, Any]:
        began = time.monotonic()
        disk = self.folder / "disk"
        asset, fault = case["asset"], Fault(**case["fault"], disk=str(disk))
        work = disk / "work" if case.get("all_on_disk") else self.folder / "work"
        results = disk / "work" / "results" if fault.then == "fill" else work / "results"
        for old in {work, results.parent}:
            shutil.rmtree(old, ignore_errors=True)
        self._furnish(work)
        shutil.copytree(self.before / asset, results, ignore=shutil.ignore_patterns("locks", "staging", "unsaid"))
        variables = {"RESULT_DIR": str(results)}
        first = self._first(case, fault, work, variables)
        open_runs = records(work, asset)["open_runs"] if fault.then not in _UNSEEN else None
        (disk / "ballast").unlink(missing_ok=True)
        broken = contract(results)
        asked = self.folder / "asked"
        second = process(lambda: again(asset, asked), work, variables)
        return {
            "case": case["name"],
            "first": first,
            "open_runs_after_first": open_runs,
            "broken": broken,
            "second": second,
            "different": different(self.clean / "results", results, asset) if second[0] == 0 else None,
            "left": leftovers(results),
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
    ) -> tuple[int, str, str]:
        asset, asked = case["asset"], self.folder / "asked"
        asked.unlink(missing_ok=True)
        if fault.then != "kill_parent":

            def struck() -> None:
                faults.arm(fault, asked)
                command_line("train", *CELL, "--to", "evaluation" if asset == "leaderboard" else asset)

            return process(struck, work, variables)

        shared = {"results_root": variables["RESULT_DIR"], "recipe": RECIPE["RECIPE"]}
        config: dict[str, Any] = {"resources": {"shared": {"config": shared}}}
        if asset in LAUNCHPAD:
            config["ops"] = {asset: {"config": LAUNCHPAD[asset]}}
        arguments = ["asset", "materialize", "-m", "icd_assets.definitions", "--select", asset]
        arguments += ["--config-json", json.dumps(config)]
        if asset != "leaderboard":
            arguments += ["--partition", KEY]

        def worker() -> None:
            from dagster._cli import cli

            cli(arguments)

        path = f"{SITE}{os.pathsep}{os.environ['PYTHONPATH']}"
        extra = {"DAGSTER_HOME": str(work), "PYTHONPATH": path, **faults.environment(fault, asked)}
        return process(worker, work, variables | extra)


def again(asset: str, asked: Path) -> None:
    faults.arm(None, asked)
    command_line("train", *CELL, "--to", "evaluation" if asset == "leaderboard" else asset)


def command_line(*arguments: str) -> None:
    from icd_assets.cli import main

    sys.argv = ["icd-assets", *arguments]
    main()


def process(
    body: Callable[[], None], folder: Path, variables: Mapping[str, str] | None = None
) -> tuple[int, str, str]:
    """Run ``body`` in a process of its own: exit code (negative: the signal), output, errors."""
    out, err = Path(os.environ["TORTURE"]) / "stdout", Path(os.environ["TORTURE"]) / "stderr"
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setsid()
            os.chdir(folder)
            os.environ.update(RECIPE | dict(variables or {}))
            for descriptor, path in ((1, out), (2, err)):
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
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (ended := os.waitpid(pid, os.WNOHANG))[0] == 0:
        if time.monotonic() > deadline:
            os.killpg(pid, signal.SIGKILL)
        time.sleep(0.02)
    status = ended[1]
    return os.waitstatus_to_exitcode(status), out.read_text(), err.read_text()


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
