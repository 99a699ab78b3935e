"""Every file of a chain read again, byte by byte: what remembered digests could hide shows here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from icd_assets.errors import UserError
from icd_assets.experiment.cell import Cell
from icd_assets.experiment.experiment import Experiment
from icd_assets.lineage.chain import Artifact
from icd_assets.store.manifest import Input
from icd_assets.store.store import Store


@dataclass
class Rehashed:
    """``differs`` and ``unchecked`` are sentences; the latter is what could not be looked at, and why."""

    files: int = 0
    differs: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)

    def add(self, other: Rehashed) -> None:
        """Chains of one run share parts: each sentence comes once."""
        self.files += other.files
        self.differs += [line for line in other.differs if line not in self.differs]
        self.unchecked += [line for line in other.unchecked if line not in self.unchecked]


def rehash(chain: Artifact, store: Store, open: Callable[[Cell], Experiment]) -> Rehashed:
    """Hash what lies where the chain's artifacts lay, and dataset and weights as today's catalog finds them.

    ``store``, and that of what ``open`` gives, must be opened with ``rehash``.
    """
    found = Rehashed()
    consumers: dict[str, Artifact] = {}
    for node in chain.walk():
        for given in node.inputs.values():
            consumers.setdefault(given.key, node)
    for node in chain.walk():
        if node.state == "outside":
            _outside(node, consumers[node.key], open, found)
        elif node.state == "current" and (there := node.now or node.manifest) is not None:
            for record in there.files:  # of another build, if only the part that was consumed is the same
                if (problem := store.rot(record, node.asset)) is not None:
                    found.differs.append(f"{problem} ({node.asset} {there.data_version})")
                found.files += record.pruned is None
        else:
            found.unchecked.append(f"{node.name} {node.data_version}: {_WHY[node.state]}")
    return found


_WHY = {
    "remade": "other bytes lie in its place, it was made again since",
    "removed": "it was removed since",
    "elsewhere": "it was made elsewhere",
    "unknown": "no manifest of it is here",
    "current": "no manifest of it is here",
}


def _outside(node: Artifact, consumer: Artifact, open: Callable[[Cell], Experiment], found: Rehashed) -> None:
    what = f"{node.name} {str(node.data_version)[:16]}"
    if node.name == "file":  # the user's own: it is among the artifact's files
        return
    if consumer.manifest is None:
        found.unchecked.append(f"{what}: which cell it belongs to is not known here")
        return
    try:
        today = _digests(node.name, open(Cell.parse(consumer.manifest.cell)))
    except (UserError, ValueError, KeyError, OSError) as error:
        found.unchecked.append(f"{what}: {error}")
        return
    found.files += 1
    if node.data_version not in today:
        found.differs.append(f"{node.name} is not what {consumer.name} read: {node.data_version} → {today[0]}")


def _digests(name: str, experiment: Experiment) -> list[str]:
    """What lies outside, hashed anew; a dataset is read as one split or as both."""
    entries = experiment.catalog.encoders
    given: list[Input]
    if name == "dataset":
        given = [experiment.data.digest("train", "validation"), experiment.data.digest("train")]
    elif name == "vlm":
        given = [experiment.vlm()]
    elif name == "subset":
        given = [Input(data_version=experiment.store.digests.file(experiment.data.subset_path()))]
    elif name == "encoder":
        given = [experiment.weights_of(entries[experiment.dataset.encoder])]
    elif name == "sampler_encoder":
        given = [experiment.weights_of(entries[experiment.dataset.sampler_encoder])]
    else:
        raise UserError("what an input of this name is, is not known to this version")
    return [one.data_version for one in given]
