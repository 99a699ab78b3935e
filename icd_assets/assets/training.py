"""What RCE and GRPO share: each epoch becomes a file and a point of the live plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from icd_assets.assets.figures import curve, meanings
from icd_assets.assets.step import Report, Show, StepRun

if TYPE_CHECKING:
    from icd_assets.selector.groups import PointerGroup
    from icd_assets.selector.training import EpochResult, Metrics


class EpochWriter:
    """Listens to a training loop; writes ``{phase}_epoch{n}.pt`` to the staging folder."""

    def __init__(self, run: StepRun, phase: str, epochs: int) -> None:
        self._run, self._phase, self._epochs = run, phase, epochs
        self._files: dict[Path, Path] = {}
        self._history: list[Metrics] = []

    def __call__(self, result: EpochResult) -> None:
        from icd_assets.selector.checkpoints import V3Checkpoint, write_v3

        experiment, number = self._run.experiment, result.epoch + 1
        final = experiment.paths.epoch_checkpoint(self._phase, number, experiment.reward_suffix)
        staged = self._run.staging / final.name
        write_v3(staged, V3Checkpoint.of(result, self._run.want.lineage()))
        self._files[final] = staged
        self._history.append(result.metrics)
        self._run.observe(result.metrics)
        self._run.on_progress(number, self._epochs)

    def report(self, groups: Sequence[PointerGroup]) -> Report:
        from icd_assets.selector.training import best_epoch

        last, best = self._history[-1], best_epoch(self._history)
        return Report(
            files=self._files,
            facts={
                "rows": len(groups),
                "epochs": len(self._history),
                "best_epoch": best + 1,
                "val_expected_reward": last["val_expected_reward"],
                "frac_reward_zero_std": last["frac_reward_zero_std"],
                "history": self._history,
                "trained_on_rows": [group.query_row for group in groups],
            },
        )


def show_training(loss: str) -> Show:
    """The picture and the last epoch's numbers."""
    return lambda facts: {
        "curve": curve(facts["history"], (loss, "val_expected_reward")),
        "last_epoch": meanings(facts["history"][-1]),
    }
