"""The finished epochs of a training, kept in its staging folder: a training that was killed goes on after them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from icd_assets.assets.step_run import Report, StepRun
from icd_assets.runtime.progress import counting
from icd_assets.store.journal import Journal

if TYPE_CHECKING:
    from icd_assets.selector.groups import PointerGroup
    from icd_assets.selector.model import PointerSelector
    from icd_assets.selector.training import EpochResult, Metrics, Resumed


def _last(history: Sequence[Metrics]) -> int:
    return len(history) - 1


class Epochs:
    """What going on needs of each epoch, and, of a ``phase`` (``rce``, ``grpo``), its ``{phase}_epoch{n}.pt``.

    >>> epochs = Epochs(run, 5, phase="rce")
    >>> train_rce(..., resumed=epochs.resumed, on_epoch=epochs.finish)

    ``resumed`` is what an interrupted run of the same spec left, or None. ``kept`` answers, given the history,
    which epoch's state (0-based) is needed besides the last one's.
    """

    def __init__(
        self,
        run: StepRun,
        total: int,
        *,
        phase: str | None = None,
        kept: Callable[[Sequence[Metrics]], int] = _last,
    ) -> None:
        self._run, self._total, self._phase, self._kept = run, total, phase, kept
        self._journal = Journal(run.staging)
        self.resumed = self._read()
        self.history: list[Metrics] = [*self.resumed.history] if self.resumed else []
        for number, metrics in enumerate(self.history, 1):  # a tracker may lack the last one, or all
            run.trackers.log(number, metrics)
        counting(run.on_progress, "epochs")(len(self.history), total)

    def _read(self) -> Resumed | None:
        from icd_assets.selector.training import Resumed
        from icd_assets.selector.v3_file import read_training_state

        if (facts := self._journal.read()) is None:
            return None
        history, done = facts["history"], len(facts["history"])
        last, kept = self._state(done - 1), self._state(self._kept(history))
        self._run.note(
            f"continuing at epoch {done + 1} of {self._total}" if done < self._total else "every epoch is trained"
        )
        return Resumed(history, read_training_state(last), read_training_state(kept))

    def finish(self, result: EpochResult) -> None:
        """The epoch is done. It is written down before it is shown, so it is shown once, whenever the process is
        killed."""
        from icd_assets.selector.v3_file import V3Checkpoint, write_training_state, write_v3

        self.history.append(result.metrics)
        checkpoints = [*self.files.values()]
        if checkpoints:
            write_v3(checkpoints[-1], V3Checkpoint.of(result, self._run.spec.lineage()))
        write_training_state(self._state(result.epoch), result)
        states = {self._state(result.epoch), self._state(self._kept(self.history))}
        self._journal.write({"history": self.history}, [*sorted(states), *checkpoints])
        for state in self._run.staging.glob("state_epoch*.pt"):
            if state not in states:
                state.unlink()
        self._run.observe(result.metrics)
        self._run.trackers.log(result.epoch + 1, result.metrics)
        detail = f"val loss {result.metrics['val_loss']:.3f}"
        counting(self._run.on_progress, "epochs", detail=detail)(result.epoch + 1, self._total)

    @property
    def files(self) -> dict[Path, Path]:
        """Final path → staged path of the finished epochs' checkpoints; none without a phase."""
        if self._phase is None:
            return {}
        paths = self._run.experiment.paths
        finals = [paths.epoch_checkpoint(self._phase, number) for number in range(1, len(self.history) + 1)]
        return {final: self._run.staging / final.name for final in finals}

    def report(self, groups: Sequence[PointerGroup], *, start: PointerSelector, policy: PointerSelector) -> Report:
        """Of a phase that is trained: its checkpoints, and the facts that RCE and GRPO share. ``start`` and
        ``policy``: before the first epoch and after the last."""
        from icd_assets.selector.groups import split_by_query
        from icd_assets.selector.movement import movement
        from icd_assets.selector.training import best_epoch

        config = self._run.config
        split = split_by_query(groups, config.train_fraction)
        moved = movement(start, policy, *split, config.seed, self.history[-1].get("clip_fraction"))
        self._run.note(moved.sentence)
        last, best = self.history[-1], best_epoch(self.history)
        return Report(
            files=self.files,
            facts={
                "rows": len(groups),
                "epochs": len(self.history),
                "best_epoch": best + 1,
                "val_expected_reward": last["val_expected_reward"],
                "frac_reward_zero_std": last["frac_reward_zero_std"],
                **moved.facts,
                "history": self.history,
                "trained_on_rows": [group.query_row for group in groups],
            },
        )

    def _state(self, epoch: int) -> Path:
        return self._run.staging / f"state_epoch{epoch + 1}.pt"
