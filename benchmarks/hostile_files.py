"""Hostile files, names and settings, each given to real commands: how many end in a sentence, how many stumble.

    python benchmarks/hostile_files.py HOME [--only KIND] [--package FOLDER]

HOME is a folder in which ``icd-assets demo`` has ended; things are put into it and taken out again. ``--package``
runs the ``icd_assets`` that lies in FOLDER, such as an older checkout: the same cases before and after.

A case is handled if its command ends within the time and the memory, with exit code 0, 1 or 2, without a traceback
and without a control code on the terminal, and nothing beside what was put there has changed; refused, if it ends
with 2 and a sentence of ours or of the command line's.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from hostile_cases import Case, Put, cases


@contextmanager
def there(path: Path, put: Put) -> Iterator[None]:
    """What ``put`` puts, in the place of what is there."""
    kept = path.with_name(f"{path.name}.kept-by-benchmark")
    had = os.path.lexists(path)
    if had:
        path.rename(kept)
    try:
        put(path)
        yield
    finally:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif os.path.lexists(path):
            path.unlink()
        if had:
            kept.rename(path)


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    found = {}
    for place, folders, names in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if name not in ("history", "storage", "logs", "schedules", ".logs_queue", "locks")
        ]
        for name in names:
            path = Path(place, name)
            status = path.lstat()
            found[str(path)] = (status.st_size, status.st_mtime_ns)
    return found


def run(case: Case, home: Path, package: Path, most_seconds: float) -> tuple[str, str]:
    """(what came of it, the end of what was printed)."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("ICD_", "RESULT"))}
    environ |= {
        "PYTHONPATH": str(package),
        "DAGSTER_HOME": str(home),
        "PATH": f"{home}/bin:{os.environ['PATH']}",
        "COLUMNS": "200",
    }
    given = {key.encode(): value.encode() for key, value in environ.items()}
    given |= {
        key.encode(): value if isinstance(value, bytes) else value.encode() for key, value in case.environ.items()
    }
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "icd_assets.cli", *case.command],
            cwd=home,
            env=given,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        over = threading.Event()

        def end() -> None:
            over.set()
            os.killpg(process.pid, signal.SIGKILL)

        timer = threading.Timer(most_seconds, end)
        timer.start()
        _, status, usage = os.wait4(process.pid, 0)
        timer.cancel()
        process.returncode = code = os.waitstatus_to_exitcode(status)
        out.seek(0)
        text = out.read().decode("utf-8", "replace")
    last = text.strip().splitlines()[-1][:220] if text.strip() else ""
    if over.is_set():
        return "hang", last
    if (home / "bin" / "started").exists():
        (home / "bin" / "started").unlink()
        return "program started", last
    if code < 0:
        return f"crash ({signal.Signals(-code).name})", last
    if "Traceback (most recent call last)" in text:
        return "traceback", last
    if usage.ru_maxrss > 1 << 20:
        return f"memory ({usage.ru_maxrss >> 10} MiB)", last
    if any(c in text for c in "\x1b\x07\x9b"):
        return "control code", last
    if code not in (0, 1, 2):
        return f"exit {code}", last
    # the doctor's, and that of verify, which names a file that was put there
    sentences = ("icd-assets:", "Usage:", "something would stop the run", "ROTTED")
    if code == 2 and not any(words in text for words in sentences):
        return "no sentence", last
    return ("refused" if code == 2 else "handled"), last


def main() -> int:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("home", type=Path)
    arguments.add_argument("--only")
    arguments.add_argument("--package", type=Path, default=Path(__file__).parent.parent)
    arguments.add_argument("--seconds", type=float, default=30.0)
    arguments.add_argument("--each", type=int, default=1, help="take every n-th case")
    given = arguments.parse_args()
    home = given.home.absolute()
    (home / "bin").mkdir(exist_ok=True)
    for name in ("gs", "gswin32c"):
        (home / "bin" / name).write_text(f"#!/bin/sh\ntouch {home}/bin/started\nexit 1\n")
        (home / "bin" / name).chmod(0o755)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
        chosen = [case for case in cases(home, Path(folder)) if given.only in (None, case.kind)][:: given.each]
        for case in chosen:
            with ExitStack() as stack:
                for path, put in case.puts:
                    stack.enter_context(there(path, put))
                before = listing(home / "results")
                end, last = run(case, home, given.package.absolute(), given.seconds)
                after = listing(home / "results")
                if changed := {path for path in before | after if before.get(path) != after.get(path)}:
                    caches = all(".icd_assets" in path or "digests" in path for path in changed)
                    end = end if caches else f"changed {sorted(changed)[0]}"
            kind = end if end in ("refused", "handled") else "stumbled"
            counts[case.kind][kind] += 1
            if kind == "stumbled":
                print(f"{case.kind}: {case.name}: {case.command[0]}: {end}: {last}", flush=True)
    total: Counter[str] = Counter()
    print(f"\n{'kind':<12} {'tried':>6} {'refused':>8} {'handled':>8} {'stumbled':>9}")
    for kind, found in counts.items():
        total.update(found)
        print(f"{kind:<12} {found.total():>6} {found['refused']:>8} {found['handled']:>8} {found['stumbled']:>9}")
    print(f"{'all':<12} {total.total():>6} {total['refused']:>8} {total['handled']:>8} {total['stumbled']:>9}")
    print(f"{time.monotonic() - begun:.0f} s, at most {given.seconds:.0f} s and 1 GiB a command")
    return 1 if total["stumbled"] else 0


sys.exit(main())
