"""The chain behind one artifact: a node per thing consumed, down to dataset files and weights.

A node is what was really consumed: a data version, and the run that made it. What lies at its place today is said
beside it, never instead of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from icd_assets.errors import UserError
from icd_assets.experiment.steps import STEP
from icd_assets.lineage.embedded import EmbeddedLineage
from icd_assets.lineage.records import Records, produced
from icd_assets.store.manifest import Input, Manifest

# current: it lies where it lay · remade: other bytes lie there now · removed: nothing does
# elsewhere: a published folder says so of itself
# outside: dataset, weights, the user's own file · unknown: no manifest under this root tells of it
State = Literal["current", "remade", "removed", "elsewhere", "outside", "unknown"]


@dataclass(frozen=True)
class Artifact:
    """One thing in a chain. ``name`` is what its consumer calls it: an asset, ``dataset``, ``vlm``, ….

    ``manifest`` is None for what lies outside, and for what only the lineage embedded in a file names.
    """

    name: str
    data_version: str | None  # None: a lone file of an artifact whose manifest is not here
    state: State
    run_id: str | None = None
    created_at: str | None = None
    manifest: Manifest | None = None
    embedded: EmbeddedLineage | None = None
    place: str | None = None  # the manifest's, relative to the results root
    now: Manifest | None = None  # what lies there today, if it is another build
    same_bytes: tuple[str, ...] = ()  # other runs that made the same bytes
    inputs: dict[str, Artifact] = field(default_factory=dict)

    @property
    def asset(self) -> str:
        return self.name.partition(".")[0]

    @property
    def key(self) -> str:
        """Identity within a chain: ``rl_data@1f2e3d4c5b6a7988``, and the build where there is one."""
        build = f"#{self.manifest.build}" if self.manifest else ""
        return f"{self.name}@{self.data_version}{build}"

    @property
    def code_version(self) -> str | None:
        source = self.manifest.spec if self.manifest else self.embedded
        return source.code_version if source else None

    @property
    def config(self) -> dict[str, Any] | None:
        """None if unknown."""
        return self.manifest.spec.config if self.manifest else None

    @property
    def config_digest(self) -> str | None:
        source = self.manifest or self.embedded
        return source.config_digest if source else None

    def walk(self) -> list[Artifact]:
        """This artifact and all behind it, each once, every consumer before its inputs."""
        done: dict[str, Artifact] = {}

        def visit(node: Artifact) -> None:
            if node.key not in done:
                for given in node.inputs.values():
                    visit(given)
                done[node.key] = node

        visit(self)
        return list(reversed(done.values()))

    def behind(self, asset: str) -> Artifact | None:
        """The nearest artifact of this kind that it was made from; None if there is none."""
        level = [self]
        while level:
            for node in level:
                if node.name == asset:
                    return node
            level = [given for node in level for given in node.inputs.values()]
        return None


class Chains:
    """Builds chains from the records of one results root; shared parts are built once."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self._known: dict[tuple[str, Input], Artifact] = {}
        self._open: set[tuple[str, Input]] = set()

    def of(self, manifest: Manifest) -> Artifact:
        """The chain that ends in an artifact with a manifest."""
        return self._artifact(
            manifest.spec.asset,
            Input(data_version=manifest.data_version, run_id=manifest.run_id, created_at=manifest.created_at),
            manifest,
        )

    def of_embedded(self, embedded: EmbeddedLineage) -> Artifact:
        """The chain that ends in a lone file whose own manifest is not here."""
        given = {name: self.of_input(name, Input(data_version=v)) for name, v in embedded.inputs.items()}
        return Artifact(embedded.asset, None, "unknown", embedded=embedded, inputs=given)

    def of_input(self, name: str, given: Input) -> Artifact:
        """What was consumed under ``name``."""
        key = (name, given)
        if key in self._open:
            raise UserError(f"the manifests of {name} {given.data_version} name each other as inputs; fix them.")
        if key not in self._known:
            self._open.add(key)
            if name.partition(".")[0] in STEP:
                self._known[key] = self._artifact(name, given, self.records.find(name, given))
            else:
                self._known[key] = Artifact(name, given.data_version, "outside")
            self._open.discard(key)
        return self._known[key]

    def _artifact(self, name: str, given: Input, manifest: Manifest | None) -> Artifact:
        state, place, now = self._today(name, given, manifest)
        others: tuple[str, ...] = ()
        inputs: dict[str, Artifact] = {}
        if manifest is not None:
            makers = self.records.makers(name, given.data_version)
            others = tuple(dict.fromkeys(m.run_id for m in makers if m.run_id not in (None, manifest.run_id)))
            inputs = {inner: self.of_input(inner, i) for inner, i in manifest.spec.inputs.items()}
        return Artifact(
            name,
            given.data_version,
            state,
            run_id=given.run_id or (manifest.run_id if manifest else None),
            created_at=given.created_at or (manifest.created_at if manifest else None),
            manifest=manifest,
            place=place,
            now=now,
            same_bytes=others,
            inputs=inputs,
        )

    def _today(
        self, name: str, given: Input, manifest: Manifest | None
    ) -> tuple[State, str | None, Manifest | None]:
        """Whether what was consumed is still there, where, and what else is there now."""
        records = self.records
        if manifest is not None and (place := records.place(manifest)) is not None:
            return "current", place, None
        if manifest is not None and records.from_elsewhere(manifest):
            return "elsewhere", None, None
        now = records.live.get(given.manifest or "")
        if now is None and manifest is not None:
            now = records.successor(manifest)
        place = given.manifest or (records.place(now) if now else None)
        if now is None:
            return ("removed" if manifest is not None or given.manifest else "unknown"), place, None
        return ("remade" if produced(name, now) != given.data_version else "current"), place, now
