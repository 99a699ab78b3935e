"""What a terminal is sent while the demo trains, per step, and how Ctrl-C ends each of its steps.

    python benchmarks/terminal_recording.py FOLDER [--small] [--interrupt] [--columns 80]

FOLDER is where it works; results there are gone on from. ``--small`` takes the tests' demo of 8 anchors and 12
questions. ``--interrupt`` presses Ctrl-C in every step, one command after the other, instead of watching one.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
from pathlib import Path

from icd_assets.experiment.steps import STEP
from icd_assets_tests.worlds.terminal import FRAME, Terminal
from icd_assets_tests.worlds.workplace import CELL, ROOT, Workplace, new_workplace, shrink

_PLACE = re.compile(r"\[(\d+)/\d+\] (\w+)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--interrupt", action="store_true")
    parser.add_argument("--columns", type=int, default=80)
    asked = parser.parse_args()
    place = _place(asked.folder.absolute(), asked.small)
    if asked.interrupt:
        _interrupt_each(place, asked.columns)
    else:
        _watch(place, asked.columns)


def _place(folder: Path, small: bool) -> Workplace:
    if not folder.exists() and small:
        shrink(new_workplace(folder))
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("dagster.yaml", "workspace.yaml"):
        if not (folder / name).exists():
            shutil.copy(ROOT / name, folder / name)
    return Workplace(folder)


def _terminal(place: Workplace, columns: int) -> Terminal:
    environment = place.environment | {"TERM": "xterm-256color", "DAGSTER_HOME": str(place.folder)}
    if not (place.folder / "catalog.yaml").exists():
        del environment["ICD_CATALOG"]
    environment |= {name: os.environ[name] for name in ("OMP_NUM_THREADS",) if name in os.environ}
    environment.setdefault("GRPO_EPOCHS", "3")
    command = [sys.executable, "-m", "icd_assets.cli", "train", *CELL]
    return Terminal(command, place.folder, environment, columns=columns, stderr=place.folder / "stderr.txt")


def _watch(place: Workplace, columns: int) -> None:
    terminal = _terminal(place, columns)
    while terminal.read(1):
        pass
    code = terminal.end()
    steps: dict[str, list[tuple[float, str]]] = {}
    for now, text in terminal.pieces:
        for found in _PLACE.finditer(text):
            steps.setdefault(found[2], []).append((now, text))
    print(f"{'step':<20}{'seconds':>8}{'bytes':>8}{'frames':>8}{'first after':>13}{'longest gap':>13}")
    ended = next(now for now, text in terminal.pieces if "] candidate_pools" in text)
    for name, pieces in steps.items():
        made = next((now for now, text in pieces if f"{name}: made in" in text), pieces[-1][0])
        times = [now for now, _ in pieces if now <= made]
        gaps = [after - before for before, after in zip([ended, *times], times, strict=False)]
        size = sum(len(text.encode()) for _, text in pieces)
        frames = sum(len(FRAME.findall(text)) for _, text in pieces)
        print(
            f"{name:<20}{made - ended:>8.1f}{size:>8}{frames:>8}"
            f"{times[0] - ended:>11.1f} s{max(gaps, default=0):>11.1f} s"
        )
        ended = made
    print(f"all: exit {code}, {len(terminal.text.encode())} bytes, {len(FRAME.findall(terminal.text))} frames")
    print(f"stderr: {(place.folder / 'stderr.txt').read_text(encoding='utf-8')!r}")
    print("left on the screen:")
    print("\n".join(row for row in terminal.rows if _PLACE.match(row)))


def _interrupt_each(place: Workplace, columns: int) -> None:
    for asset in STEP:
        terminal = _terminal(place, columns)
        terminal.read_until(f"] {asset}", timeout=900)
        terminal.press_ctrl_c()
        code = terminal.end(120)
        lines = (place.folder / "stderr.txt").read_text(encoding="utf-8").splitlines()
        print(f"{asset:<20} exit {code}, {len(lines)} line on stderr: {lines}", flush=True)


if __name__ == "__main__":
    main()
