"""``python -m icd_assets_tests.fuzz [TARGET…] [--seconds 300] [--found FOLDER]``; exit 1 at a finding."""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from pathlib import Path

from icd_assets_tests.fuzz import driver


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m icd_assets_tests.fuzz")
    arguments.add_argument("target", nargs="*", help="default: every one")
    arguments.add_argument("--seconds", type=int, default=300, help="for each target (300)")
    arguments.add_argument("--found", type=Path, default=Path("fuzz-found"), help="where findings are kept")
    given = arguments.parse_args()
    if unknown := sorted(set(given.target) - set(driver.names())):
        arguments.error(f"unknown target {unknown[0]}; there are {', '.join(driver.names())}")
    if importlib.util.find_spec("atheris") is None:
        arguments.error("atheris is not installed: make fuzz, or pip install -c constraints.txt -e '.[fuzz]'")
    given.found.mkdir(parents=True, exist_ok=True)
    findings = 0
    for name in given.target or driver.names():
        begun = time.monotonic()
        tried, code = driver.campaign(name, given.seconds, given.found.absolute())
        lasted = time.monotonic() - begun
        end = "no finding" if code is None else f"FINDING (exit {code}): {given.found / name}.log"
        print(f"{name:<24} {tried:>10,} files in {lasted:>4.0f} s   {end}", flush=True)
        findings += code is not None
    return 1 if findings else 0


sys.exit(main())
