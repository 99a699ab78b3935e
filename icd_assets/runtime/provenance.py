"""What an artifact was made with: versions, device, source commit. Recorded in its manifest."""

from __future__ import annotations

import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("icd-assets", "dagster", "torch", "transformers", "numpy", "Pillow", "pycocoevalcap")


@cache
def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "machine": f"{sys.platform} {platform.machine()}"}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


@cache
def _commit() -> str:
    """The commit of the source tree, with ``+`` when it has changes; ``installed`` outside a checkout."""
    folder = Path(__file__).parents[1]
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True)
        if head.returncode != 0:
            return "installed"
        status = ["git", "status", "--porcelain", "--", "."]
        changed = subprocess.run(status, cwd=folder, capture_output=True, text=True)
    except FileNotFoundError:
        return "installed"
    return head.stdout.strip()[:12] + ("+" if changed.stdout.strip() else "")


def describe(device: str) -> dict[str, str]:
    return {**_versions(), "commit": _commit(), "device": device}
