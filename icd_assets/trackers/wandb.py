"""Weights & Biases. Offline unless ``WANDB_MODE`` says otherwise: nothing leaves the machine unasked."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from icd_assets.trackers.interface import PROJECT, TrackedRun

_SECONDS = 20  # that a server may take to begin a run, and to take its last numbers


class _Wandb:
    def __init__(self, run: TrackedRun) -> None:
        self._run = _started(run, _mode())
        self._begins_at = self._run.starting_step  # of a run that goes on at the server, behind its last epoch
        folder = Path(self._run.settings.sync_dir)
        offline = self._run.settings.mode == "offline"
        self.link = str(folder) if offline else str(self._run.url or "")
        if offline:  # it is given all epochs: what a killed process left would be a second copy of the run
            for earlier in folder.parent.glob(f"offline-run-*-{run.id}"):
                if earlier != folder:
                    shutil.rmtree(earlier)

    def log(self, epoch: int, metrics: Mapping[str, float]) -> None:
        if epoch >= self._begins_at:
            self._run.log(dict(metrics), step=epoch)

    def summarize(self, scores: Mapping[str, float]) -> None:
        self._run.summary.update(dict(scores))

    def close(self, *, complete: bool) -> None:
        self._run.finish(exit_code=0 if complete else 1)


def _mode() -> str:
    """Offline, too, where nobody is logged in or no server answers. Nothing is asked of the user."""
    mode = os.environ.get("WANDB_MODE", "offline")
    if mode != "online":
        return mode
    import wandb

    try:
        return mode if wandb.login(prompt=False, verify=True) else "offline"
    except wandb.Error:
        return "offline"


def _started(run: TrackedRun, mode: Any) -> Any:
    import wandb

    folder = Path(os.environ.get("WANDB_DIR") or run.folder)
    folder.mkdir(parents=True, exist_ok=True)
    return wandb.init(
        project=os.environ.get("WANDB_PROJECT", PROJECT),
        id=run.id,
        name=run.name,
        group=run.group,
        config=dict(run.config),
        dir=folder,
        mode=mode,
        resume="allow",
        reinit="create_new",  # a run of the user's own in this process stays theirs
        settings=wandb.Settings(
            console="off",  # the terminal is not copied
            silent=True,
            save_code=False,
            init_timeout=_SECONDS,
            finish_timeout=_SECONDS,
        ),
    )


open_run = _Wandb
