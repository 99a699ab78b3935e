"""Whatever stands in the place of a small file: one sentence, nothing changed, and the others are still shown.

Every command that only reads is given every file under a results root, each replaced by every hostile thing of
:mod:`..worlds.hostile`. ``python -m icd_assets_tests.pipeline.test_hostile_files`` tries all and counts.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import pytest
from click.testing import CliRunner

from icd_assets.cli import group
from icd_assets.errors import UserError
from icd_assets.experiment.settings import environment_fields
from icd_assets.store.names import pending_of, previous_of
from icd_assets_tests.worlds import hostile
from icd_assets_tests.worlds.evaluated import evaluated_cell
from icd_assets_tests.worlds.limits import TooLongError, limits
from icd_assets_tests.worlds.manifests import World, new_world

CELL, OTHER = "d0|RandSampler/m0", "d1|RandSampler/m0"
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("status",),
    ("verify",),
    ("lineage", CELL),
    ("leaderboard",),
    ("prune", "--earlier", "0"),
    ("evaluation", CELL),
    ("compare", CELL, OTHER),
    ("card", CELL),
)
KINDS = (
    *("manifest", "manifest in the middle", "manifest at the beginning", "pending", "previous", "history"),
    *("record of an earlier evaluation", "digests", "comparison", "predictions", "earlier predictions"),
    *("selector's config", "sums", "lock"),
)
SECONDS = 10  # of the processor
WAIT_SECONDS = 30  # of the clock, on a machine that does other things too
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
# What any command may write: caches.
_WRITTEN = re.compile(r"results/(\.icd_assets/(digests\.json|locks/.*)|icd_assets_lock.*)")


@dataclass
class Tried:
    """What became of commands; ``stumbled`` are sentences, with the end of the traceback."""

    count: Counter[str] = field(default_factory=Counter)
    stumbled: list[str] = field(default_factory=list)

    def add(self, other: Tried) -> None:
        self.count += other.count
        self.stumbled += other.stumbled


def results(folder: Path) -> World:
    """Two evaluated cells, of which one was evaluated twice, and half a commit."""
    world = new_world(folder, datasets=2)
    (world.folder / ".env").write_text("# nothing\n", encoding="utf-8")
    evaluated_cell(world)
    experiment = evaluated_cell(world, OTHER)
    from icd_assets.evaluation.earlier import keep

    manifest = experiment.manifest("evaluation")
    assert manifest is not None
    keep(experiment.paths.evaluation, manifest)
    path = experiment.manifest_path("sequence_selector")
    for half in (pending_of(path), previous_of(path)):
        half.write_bytes(path.read_bytes())
    base = world.store.private / "features" / "1234" / "d0-train-5678"
    base.parent.mkdir(parents=True)
    for kind in ("text", "image"):
        base.with_name(f"{base.name}-{kind}.npy").write_bytes(b"none")
    base.with_name(f"{base.name}.json").write_text('{"text": "1", "image": "2"}', encoding="utf-8")
    return world


def files(world: World) -> dict[str, Path]:
    """One of each kind of small file."""
    one, other, store = world.experiment(CELL, RECIPE="sequences"), world.experiment(OTHER), world.store
    evaluation = one.paths.evaluation
    other_evaluation = other.paths.evaluation
    history = sorted(store.history.glob("evaluation/*.json"))
    selector = other.manifest_path("sequence_selector")
    (earlier,) = other_evaluation.glob("earlier/*")
    return {
        "manifest": one.manifest_path("evaluation"),
        "manifest in the middle": one.manifest_path("sequence_selector"),
        "manifest at the beginning": one.manifest_path("candidate_pools"),
        "pending": pending_of(selector),
        "previous": previous_of(selector),
        "history": history[0],
        "record of an earlier evaluation": earlier / "manifest.json",
        "digests": store.digests.path,
        "comparison": evaluation / "comparison.json",
        "predictions": evaluation / "predictions.parquet",
        "earlier predictions": earlier / "predictions.parquet",
        "selector's config": one.paths.selector("sequence_selector") / "config.json",
        "sums": next(store.private.glob("features/*/*.json")),
        "lock": next(store.private.glob("locks/*.lock")),
    }


def attempts(world: World, kind: str, path: Path, *, values: int, each: int) -> Tried:
    """Every hostile thing at ``path``, and ``values`` of its values, each under ``each`` of the commands."""
    found = Tried()
    sound, status = path.read_bytes(), path.stat()
    cases = list(hostile.in_place_of(path))
    if values and sound[:1] in (b"{", b"["):
        cases += list(hostile.changed_values(path, values))
    digests = world.store.digests.path
    remembered = digests.read_bytes() if digests != path else b""
    for number, (name, put) in enumerate(cases):
        for at in range(each):
            command = COMMANDS[(number + at) % len(COMMANDS)]
            put()
            before = _tree(world.folder)
            outcome, problem = _attempt(world, command, path)
            changed = _changes(before, _tree(world.folder)) if path != digests else []
            if problem is None and changed:
                problem = f"changed {', '.join(sorted(changed)[:3])}"
            found.count["stumbled" if problem else outcome] += 1
            if problem:
                found.stumbled.append(f"{kind} | {name} | {' '.join(command)}: {problem}")
            if digests != path:
                hostile.put_back(digests, remembered)
    hostile.put_back(path, sound, (status.st_atime_ns, status.st_mtime_ns))
    return found


def _attempt(world: World, command: tuple[str, ...], path: Path | None = None) -> tuple[str, str | None]:
    """(how it ended, what was wrong with that); ``path``: a refusal must name it, or its folder or cell."""
    os.chdir(world.folder)
    began = time.process_time()
    try:
        with limits(WAIT_SECONDS), patch("os.fsync"):  # the disk need not survive a power cut
            result = CliRunner().invoke(group, command)
    except TooLongError:
        return "stumbled", "hangs"
    error = result.exception
    if isinstance(error, TooLongError) or time.process_time() - began > SECONDS:
        return "stumbled", "hangs"
    if error is not None and not isinstance(error, SystemExit | UserError):
        place = traceback.extract_tb(error.__traceback__)
        ours = [f"{Path(one.filename).name}:{one.lineno}" for one in place if "/icd_assets/" in one.filename]
        return "stumbled", f"{type(error).__name__}: {str(error)[:100]!r} at {' '.join(ours[-2:])}"
    text = f"{result.output}\n{error if isinstance(error, UserError) else ''}"
    if (raw := _CONTROL.search(text)) is not None:
        return "stumbled", f"raw {raw[0]!r} in {text[max(0, raw.start() - 40) : raw.end() + 20]!r}"
    if isinstance(error, UserError):
        if len(str(error)) > 2500:
            return "stumbled", f"a sentence of {len(str(error)):,} characters"
        if path is not None and not any(name in str(error) for name in (str(path.parent), CELL, OTHER)):
            return "stumbled", f"does not name the file: {error}"
        return "refused in a sentence", None
    if result.exit_code not in (0, 1, 2):
        return "stumbled", f"exit {result.exit_code}"
    return "went on" if result.exit_code == 0 else "reported as damage", None


def _tree(folder: Path) -> dict[str, tuple[int, ...]]:
    found = {}
    for place, folders, names in os.walk(folder):
        for name in (*folders, *names):
            status = (path := Path(place, name)).lstat()
            times = () if name in folders else (status.st_size, status.st_mtime_ns)
            found[str(path.relative_to(folder))] = (status.st_mode, *times)
    return found


def _changes(before: dict[str, tuple[int, ...]], after: dict[str, tuple[int, ...]]) -> list[str]:
    names = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    return [name for name in names if _WRITTEN.fullmatch(name) is None]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    here, environment = Path.cwd(), dict(os.environ)
    made = results(tmp_path_factory.mktemp("hostile") / "work")
    _enter(made)
    yield made
    os.chdir(here)
    os.environ.clear()
    os.environ.update(environment)


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_stands_in_the_place_of_a_file_is_one_sentence(world: World, kind: str) -> None:
    found = attempts(world, kind, files(world)[kind], values=5, each=1)
    assert found.stumbled == []
    assert found.count.total() > 30


def _enter(world: World) -> None:
    os.chdir(world.folder)
    for name in ("RESULT_DIR", *environment_fields()):
        os.environ.pop(name, None)
    os.environ |= {"ICD_CATALOG": str(world.folder / "catalog.yaml"), "DAGSTER_HOME": str(world.folder)}
    for command in COMMANDS:
        _attempt(world, command)  # what is imported is imported


def main(arguments: list[str]) -> None:
    """Everything, or the kinds whose name has one of the words; ``--values N``, ``--each N`` commands."""
    numbers = {"--values": 60, "--each": len(COMMANDS)}
    for name in numbers.keys() & set(arguments):
        at = arguments.index(name)
        numbers[name] = int(arguments[at + 1])
        del arguments[at : at + 2]
    total = Tried()
    with tempfile.TemporaryDirectory() as folder:
        world = results(Path(folder) / "work")
        _enter(world)
        for kind, path in files(world).items():
            if not arguments or any(word in kind for word in arguments):
                found = attempts(world, kind, path, values=numbers["--values"], each=numbers["--each"])
                for line in found.stumbled:
                    print(line.encode(errors="backslashreplace").decode())
                print(f"{kind:<34} {dict(found.count)}", flush=True)
                total.add(found)
        os.chdir("/")
    print(f"tried {total.count.total():,}: {dict(total.count)}")


if __name__ == "__main__":
    main(sys.argv[1:])
