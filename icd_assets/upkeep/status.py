"""The state of every artifact of every cell, without making, fetching or even importing anything heavy.

Judged under one set of settings, as a run would judge: what a cell of other settings has is stale here. What lies
in places of its own (another reward, another name, other shots) is judged with the settings of its place. Two
things are judged as the UI does: the v2-format checkpoint by its source ``auto``, and GRPO that is there although
the settings have no GRPO epochs, by its own number of epochs. One cell's trouble is a sentence of that cell.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from icd_assets.errors import UserError
from icd_assets.experiment import plan
from icd_assets.experiment.catalog import Catalog
from icd_assets.experiment.cell import Cell
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.recipes import recipe_of, with_recipe
from icd_assets.experiment.settings import Settings
from icd_assets.experiment.step import Step
from icd_assets.experiment.steps import STEPS
from icd_assets.lineage.records import Records
from icd_assets.lineage.there import fitting, flags, others
from icd_assets.store.known import Known
from icd_assets.store.manifest import Input, Manifest
from icd_assets.store.store import Store

# left out: not what would be made, but the recipe has no such step · unjudged: something outside is not here
State = Literal["fresh", "stale", "missing", "running", "left out", "unjudged"]


@dataclass(frozen=True)
class AssetStatus:
    """``reason``: why it is not fresh; ``writer``: who makes it right now."""

    asset: str
    state: State
    reason: str | None = None
    manifest: Manifest | None = None
    writer: str | None = None

    @property
    def to_be_made(self) -> bool:
        return self.state in ("stale", "missing", "running")


@dataclass(frozen=True)
class CellStatus:
    """``flags``: what to type to mean it, where the settings mean another experiment of the cell; ``problem``: why
    the settings given are not those that it was judged under."""

    experiment: Experiment
    assets: tuple[AssetStatus, ...]  # in the pipeline's order
    flags: str = ""
    problem: str | None = None

    @property
    def cell(self) -> Cell:
        return self.experiment.cell

    def state(self, asset: str) -> State:
        return next(one.state for one in self.assets if one.asset == asset)

    @property
    def empty(self) -> bool:
        """Nothing was made for this cell; pools and embeddings that it would share do not count."""
        own = (one.manifest is not None and one.manifest.cell == self.cell.key for one in self.assets)
        broken = (one.manifest is None and one.state == "stale" for one in self.assets)
        return not any(own) and not any(broken) and not any(one.writer for one in self.assets)


class Survey:
    """All cells under one results root, judged together: manifests, weights and dataset files are read once.

    >>> Survey(store, catalog, settings).status(cell)
    """

    def __init__(self, store: Store, catalog: Catalog, settings: Settings) -> None:
        self._store = store.read_once()
        self.records = Records(self._store)
        self._catalog, self._settings = catalog, settings
        self._outside = Known[Input]()

    def cells(self, chosen: Sequence[Cell], *, empty: bool = False) -> Iterator[CellStatus]:
        """Of those chosen the ones that have anything, or all; after each, its other experiments on disk."""
        with self._store.digests.at_once():
            for cell in chosen:
                found = self.status(cell)
                if empty or not found.empty:
                    yield found
                yield from self.others(found)

    def not_in_catalog(self) -> list[str]:
        """Cells of manifests that today's catalog does not know."""
        known = {cell.key for cell in self._catalog.cells}
        return sorted({manifest.cell for manifest in self.records.live.values()} - known)

    def status(self, cell: Cell) -> CellStatus:
        experiment, problem = fitting(
            Experiment(cell, self._settings, self._store, self._catalog, read_only=True, known=self._outside)
        )
        return self._judged(experiment, problem=problem)

    def others(self, judged: CellStatus) -> list[CellStatus]:
        """The cell's experiments in other places, each with its own number of GRPO epochs."""
        settings = judged.experiment.settings.model_copy(update={"explicit": self._settings.explicit})
        base, live = replace(judged.experiment, settings=settings), self._by_cell.get(judged.cell.key, [])
        return [self._judged(one, flags(one, base)) for one in others(base, live)]

    @cached_property
    def _by_cell(self) -> dict[str, list[Manifest]]:
        found: dict[str, list[Manifest]] = {}
        for manifest in self.records.live.values():
            found.setdefault(manifest.cell, []).append(manifest)
        return found

    def _judged(self, experiment: Experiment, flags: str = "", problem: str | None = None) -> CellStatus:
        experiment = _with_own_grpo(experiment)
        found: list[AssetStatus] = []
        coming: set[str] = set()
        judged = _of_one_recipe(experiment)
        for step in STEPS:
            one = _judge(judged, step, coming)
            found.append(one)
            if one.to_be_made and not _left_out(judged, step):
                coming.add(step.name)
        return CellStatus(experiment, tuple(found), flags, problem)


def _judge(experiment: Experiment, step: Step, coming: set[str]) -> AssetStatus:
    store = experiment.store
    manifest: Manifest | None = None
    writer: str | None = None
    try:
        writer = store.writer(experiment.manifest_path(step.name))
        manifest = experiment.manifest(step.name)
        reason = plan.reason(experiment, step, coming)
        state = _state(experiment, step, manifest, reason)
    except UserError as error:
        damage = store.damage(manifest) if manifest is not None else str(error)
        reason, state = damage or str(error), "stale" if damage else "unjudged"
    except OSError as error:
        reason, state = f"{error.filename} cannot be read ({error.strerror})", "unjudged"
    if state == "left out":
        reason = None
    return AssetStatus(step.name, "running" if writer else state, reason, manifest, writer)


def _state(experiment: Experiment, step: Step, manifest: Manifest | None, reason: str | None) -> State:
    if reason is None:
        return "fresh"
    if _left_out(experiment, step):
        return "left out"
    return "missing" if manifest is None else "stale"


def _left_out(experiment: Experiment, step: Step) -> bool:
    try:
        return step.left_out(experiment) is not None
    except (UserError, OSError):  # the user's own v2 checkpoint cannot be read: that step's reason names it
        return True


def _of_one_recipe(experiment: Experiment) -> Experiment:
    """With the recipe that ``auto`` stands for, which every step would find out from the disk again."""
    try:
        return replace(experiment, settings=with_recipe(experiment.settings, recipe_of(experiment)))
    except (UserError, OSError):  # each step says what cannot be read
        return experiment


def _with_own_grpo(experiment: Experiment) -> Experiment:
    """With the number of GRPO epochs that its GRPO has, if the settings leave GRPO open."""
    try:
        if experiment.config("grpo_checkpoints").grpo_epochs > 0:
            return experiment
        manifest = experiment.manifest("grpo_checkpoints")
    except UserError:
        return experiment
    if manifest is None:
        return experiment
    explicit = dict(experiment.settings.explicit)
    own = {"grpo_epochs": manifest.spec.config.get("grpo_epochs")}
    explicit["grpo_checkpoints"] = explicit.get("grpo_checkpoints", {}) | own
    settings = experiment.settings.model_copy(update={"explicit": explicit})
    return replace(experiment, settings=settings)
