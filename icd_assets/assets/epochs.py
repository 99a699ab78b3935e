"""The finished epochs of a training, kept in its staging folder: a training that was killed goes on after them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from icd_assets.assets.step_run import StepRun
from icd_assets.store.journal import Journal

if TYPE_CHECKING:
    from icd_assets.selector.training import EpochResult, Metrics, Resumed


class Epochs:
    """Keeps what going on needs, and shows each epoch live.

    ``resumed`` is what an interrupted run of the same spec left, or None. ``kept`` says, given the history, which
    epoch's state (0-based) is needed besides the last one's.
    """

    def __init__(
        self, run: StepRun, total: int, kept: Callable[[Sequence[Metrics]], int] = lambda history: len(history) - 1
    ) -> None:
        self._run, self._total, self._kept = run, total, kept
        self._journal = Journal(run.staging)
        self.resumed = self._read()
        self.history: list[Metrics] = list(self.resumed.history) if self.resumed else []

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

    def finish(self, result: EpochResult, files: Sequence[Path] = ()) -> None:
        """The epoch is done; ``files`` are those in the staging folder that this and earlier epochs left.

        Written down before it is shown: an epoch is shown once, whenever the process is killed.
        """
        from icd_assets.selector.v3_file import write_training_state

        self.history.append(result.metrics)
        write_training_state(self._state(result.epoch), result)
        states = {self._state(result.epoch), self._state(self._kept(self.history))}
        self._journal.write({"history": self.history}, [*sorted(states), *files])
        for state in self._run.staging.glob("state_epoch*.pt"):
            if state not in states:
                state.unlink()
        self._run.observe(result.metrics)
        self._run.on_progress(result.epoch + 1, self._total)

    def _state(self, epoch: int) -> Path:
        return self._run.staging / f"state_epoch{epoch + 1}.pt"
