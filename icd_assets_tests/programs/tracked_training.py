"""Trains RCE for four epochs in the folder FOLDER, tracked by TRACKERS. With KILLED_AFTER=n it kills itself when
epoch n is in the journal, before any tracker is given it. Prints the facts and the
data version."""

from __future__ import annotations

import copy
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from icd_assets.assets import build as building
from icd_assets.assets.epochs import Epochs
from icd_assets.assets.step_run import Report, StepRun
from icd_assets.selector.config import RceConfig, SelectorConfig
from icd_assets.selector.model import new_policy
from icd_assets.selector.rce import train_rce
from icd_assets_tests.worlds import known_answers, manifests

EPOCHS = 4


def train(run: StepRun) -> Report:
    """As the step does, on groups with a known answer."""
    sft = new_policy(SelectorConfig(embedding_dim=64, hidden_dim=64), 0)
    groups = known_answers.World(30).proposals(sft, range(30))
    epochs, policy = Epochs(run, EPOCHS, phase="rce"), copy.deepcopy(sft)
    train_rce(
        policy, groups, RceConfig(rce_epochs=EPOCHS), sft=sft, resumed=epochs.resumed, on_epoch=epochs.finish
    )
    return epochs.report(groups, start=sft, policy=policy)


def main(folder: Path, killed_after: int) -> None:
    world = manifests.World(folder)
    if not (folder / "catalog.yaml").is_file():
        world = manifests.new_world(folder)
        for asset in manifests.STEP_NAMES[: manifests.STEP_NAMES.index("rce_checkpoints")]:
            world.make(world.experiment(), asset)
    seen: list[Any] = []

    def observe(metrics: Any) -> None:
        seen.append(metrics)
        if len(seen) == killed_after:
            os.kill(os.getpid(), signal.SIGKILL)

    building.maker = lambda asset: train  # type: ignore[assignment]
    run, experiment = building.Run("run-2", print, observe), world.experiment(TRACKERS=os.environ["TRACKERS"])
    built = building.build(experiment, "rce_checkpoints", run, force="FORCED" in os.environ)
    print(json.dumps({"facts": built.manifest.facts, "data_version": built.manifest.data_version}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(os.environ.get("KILLED_AFTER", "0")))
