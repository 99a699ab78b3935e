"""What RCE and GRPO share: each epoch becomes a file and a point of the live plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icd_assets.defs.assets.epochs import Epochs
from icd_assets.defs.assets.figures import curve, meanings
from icd_assets.defs.assets.step import Report, Show, StepRun

if TYPE_CHECKING:
    from icd_assets.selector.groups import PointerGroup
    from icd_assets.selector.training import EpochResult


class EpochWriter:
    """Listens to a training loop; writes ``{phase}_epoch{n}.pt`` to the staging folder.

    >>> writer = EpochWriter(run, "rce", 5)
    >>> train_rce(policy, ..., resumed=writer.resumed, on_epoch=writer)
    """

    def __init__(self, run: StepRun, phase: str, epochs: int) -> None:
        self._run, self._phase = run, phase
        self._epochs = Epochs(run, epochs)
        self.resumed = self._epochs.resumed

    def __call__(self, result: EpochResult) -> None:
        from icd_assets.selector.v3_file import V3Checkpoint, write_v3

        files = self._files(result.epoch + 1)
        write_v3([*files.values()][-1], V3Checkpoint.of(result, self._run.spec.lineage()))
        self._epochs.finish(result, [*files.values()])

    def _files(self, epochs: int) -> dict[Path, Path]:
        """Final path → staged path of the first ``epochs`` epochs."""
        experiment = self._run.experiment
        finals = [
            experiment.paths.epoch_checkpoint(self._phase, number, experiment.reward_suffix)
            for number in range(1, epochs + 1)
        ]
        return {final: self._run.staging / final.name for final in finals}

    def report(self, groups: Sequence[PointerGroup]) -> Report:
        from icd_assets.selector.training import best_epoch

        history = self._epochs.history
        last, best = history[-1], best_epoch(history)
        return Report(
            files=self._files(len(history)),
            facts={
                "rows": len(groups),
                "epochs": len(history),
                "best_epoch": best + 1,
                "val_expected_reward": last["val_expected_reward"],
                "frac_reward_zero_std": last["frac_reward_zero_std"],
                "history": history,
                "trained_on_rows": [group.query_row for group in groups],
            },
        )


def show_training(loss: str) -> Show:
    """The picture and the last epoch's numbers; Lever-Plus' checkpoints have no expected reward."""

    def show(facts: Mapping[str, Any]) -> Mapping[str, Any]:
        history = facts["history"]
        drawn = [
            name
            for name in (loss, "val_expected_reward", "val_loss")
            if all(name in metrics for metrics in history)
        ]
        picture = {"curve": curve(history, (drawn[0], drawn[1]))} if len(drawn) > 1 else {}
        return picture | {"last_epoch": meanings(history[-1])}

    return show
