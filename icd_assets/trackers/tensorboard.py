"""TensorBoard: event files in a folder per run, under ``tensorboard/<group>/<name>``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from icd_assets.trackers.interface import TrackedRun

_SUMMARY = 0  # the step of numbers of the whole run; epochs count from 1


class _TensorBoard:
    def __init__(self, run: TrackedRun) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder = run.folder / "tensorboard" / re.sub(r"[^\w.-]+", "_", run.group) / run.name
        self.link = str(folder)
        # purge_step: a reader forgets what a killed process had written from there on, as it comes again.
        self._writer = SummaryWriter(str(folder), purge_step=_SUMMARY)
        table = "\n".join(f"| {name} | {json.dumps(value)} |" for name, value in run.config.items())
        self._writer.add_text("config", f"| name | value |\n|---|---|\n{table}", _SUMMARY)

    def log(self, epoch: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()

    def summarize(self, scores: Mapping[str, float]) -> None:
        self.log(_SUMMARY, {f"summary/{name}": value for name, value in scores.items()})

    def close(self, *, complete: bool) -> None:
        self._writer.close()


open_run = _TensorBoard
