"""The selector of a cell that is shared: which it is, what it was made of, and how well it does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from icd_assets.errors import UserError
from icd_assets.evaluation.report import Comparison
from icd_assets.experiment.catalog_variables import PACKAGE
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.recipes import last_trained
from icd_assets.lineage import Artifact, Records
from icd_assets.lineage.as_made import as_made
from icd_assets.lineage.chain import Chains
from icd_assets.share.settings import Differing, differing
from icd_assets.store.manifest import Manifest

# Of the files that labels lie in, in the order in which recipes ask for them.
LABELS = ("single_labels", "step_labels", "beam_data", "rl_data")


class Source(NamedTuple):
    """A model that others can have: ``hub`` is its id there, None of a folder of this machine."""

    role: str
    name: str
    hub: str | None
    revision: str | None
    digest: str


@dataclass(frozen=True)
class Trained:
    """The last selector of a cell's recipe, evaluated."""

    experiment: Experiment
    manifest: Manifest  # of the selector, or of the v2-format file
    evaluation: Manifest
    comparison: Comparison

    @classmethod
    def of(cls, experiment: Experiment) -> Trained:
        """Raises ``UserError`` if there is no selector, or the evaluation is not one of it."""
        asset = last_trained(experiment) or "v2format_checkpoint"
        cell = experiment.cell
        manifest, evaluation = experiment.manifest(asset), experiment.manifest("evaluation")
        if manifest is None or experiment.manifest("embeddings") is None:
            raise UserError(f"{cell} has no trained selector yet; run icd-assets train for it.")
        if evaluation is None or evaluation.spec.digests.get(asset) != manifest.data_version:
            raise UserError(f"{cell}: its {asset} is not evaluated yet; run icd-assets train for it.")
        store = experiment.store
        comparison = Comparison.read(store.files(evaluation)[0])
        if comparison.recommended is None:
            comparison = comparison.model_copy(update={"recommended": evaluation.facts["recommended"]})
        return cls(experiment, manifest, evaluation, comparison)

    @property
    def asset(self) -> str:
        return self.manifest.spec.asset

    @property
    def name(self) -> str:
        """As the table calls it."""
        return str(self.comparison.recommended)

    @property
    def architecture(self) -> str:
        return str(self.manifest.facts.get("architecture", "v2"))

    @cached_property
    def made(self) -> Experiment:
        """The cell with the settings of all that was made of it."""
        store, path = self.experiment.store, self.experiment.manifest_path("evaluation")
        return as_made(store, path, self.experiment.catalog)

    @cached_property
    def differing(self) -> list[Differing]:
        """Its settings that are not the defaults."""
        return differing(self.made, {node.asset for chain in self.chains for node in chain.walk()})

    @cached_property
    def chains(self) -> tuple[Artifact, Artifact]:
        """Behind the selector, and behind its evaluation."""
        chains = Chains(Records(self.experiment.store))
        return chains.of(self.manifest), chains.of(self.evaluation)

    @cached_property
    def labels(self) -> Mapping[str, Manifest]:
        """The labels that it was trained on, by asset."""
        behind = {node.name: node.manifest for node in self.chains[0].walk() if node.manifest is not None}
        return {asset: behind[asset] for asset in LABELS if asset in behind}

    @cached_property
    def sources(self) -> tuple[Source, ...]:
        """The VLM and the encoder."""
        experiment, digests = self.experiment, self.evaluation.spec.digests
        model, encoder = experiment.model, experiment.encoder(experiment.dataset.encoder)
        revision = getattr(model.backend, "revision", None)
        hub = hub_id(model.source) if model.backend.loads_weights else None
        behind = self.chains[0].behind("encoder")  # None: of an adopted checkpoint, which does not say it
        weights = "" if behind is None or behind.data_version is None else behind.data_version
        return (
            Source("vision-language model", model.name, hub, revision, digests["vlm"]),
            Source("encoder", encoder.name, hub_id(encoder.path), encoder.revision, weights),
        )

    @property
    def encoder_is_theirs(self) -> bool:
        """Whether it reads the encoder inside a v2 checkpoint that was not trained here."""
        v2 = self.chains[0].behind("v2_checkpoint")
        return v2 is not None and v2.manifest is not None and v2.manifest.origin != "made"

    @property
    def encoder_comes_along(self) -> bool:
        """Whether it is in this package."""
        return Path(self.experiment.encoder(self.experiment.dataset.encoder).path).is_relative_to(PACKAGE)

    @property
    def encoder_to_give(self) -> str | None:
        """What ``Selector.load`` has to be given; None where the folder names one that it finds by itself."""
        source = self.sources[1]
        found = source.hub is not None or self.encoder_comes_along
        return None if found and self._folder_names_it else source.hub or source.name

    @property
    def _folder_names_it(self) -> bool:
        if self.asset == "v2format_checkpoint":
            return not self.encoder_is_theirs
        from icd_assets.selector.selector_file import read_selector

        return read_selector(self.experiment.paths.selector(self.asset)).encoder is not None


def hub_id(path: str) -> str | None:
    """``path`` as a hub id that names its owner; None of a folder."""
    named = re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", path) is not None
    return path if named and not Path(path).exists() else None
