"""What the function of an asset is given, and what it answers with: ``(StepRun) -> Report``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from icd_assets.errors import UserError
from icd_assets.experiment.experiment import Experiment
from icd_assets.runtime.progress import OnProgress
from icd_assets.store.manifest import Manifest, Spec
from icd_assets.trackers.trackers import Trackers

if TYPE_CHECKING:
    from icd_assets.vlm.cached_backend import CachedBackend

Read = TypeVar("Read")


@dataclass(frozen=True)
class StepRun:
    """One step at work: its config, what it is made from, and the folder for its unfinished files."""

    experiment: Experiment
    config: Any
    spec: Spec
    staging: Path
    device: str
    on_progress: OnProgress
    note: Callable[[str], None]  # one line for the run's log and the terminal
    observe: Callable[[Mapping[str, float]], None]  # one epoch's numbers, live
    trackers: Trackers  # the same for the user's own trackers, from the first epoch again when it goes on
    asked: list[CachedBackend] = field(default_factory=list)  # the models that the step opened

    @property
    def environment(self) -> dict[str, str]:
        """What besides this machine made the artifact: who answered."""
        return {name: text for model in self.asked for name, text in model.environment.items()}

    def read(self, asset: str, reader: Callable[[list[Path], Mapping[str, Any]], Read]) -> Read:
        """What ``reader`` makes of an input's verified files and its facts.

        Another run may make the input again at any moment: it must be the one that the spec names before it is
        read and after, or the artifact would claim to be made of what it is not.
        """
        manifest = self._as_in_spec(asset)
        found = reader(self.experiment.store.files(manifest), manifest.facts)
        self._as_in_spec(asset)
        return found

    def _as_in_spec(self, asset: str) -> Manifest:
        manifest = self.experiment.store.require(self.experiment.manifest_path(asset), asset)
        given = next(given for name, given in self.spec.inputs.items() if name.partition(".")[0] == asset)
        # Of a v2 checkpoint the encoder alone may be asked for.
        if given.data_version not in (manifest.data_version, manifest.facts.get("encoder_digest")):
            raise UserError(
                f"another run made {asset} again while {self.spec.asset} was about to read it; run this again."
            )
        return manifest


@dataclass(frozen=True)
class Report:
    """What an asset's function made: ``files`` maps each final path to its staged one; ``facts`` go into the
    manifest and, if they are plain numbers or texts, into the UI."""

    files: Mapping[Path, Path]
    facts: Mapping[str, Any]
    origin: str = "made"
