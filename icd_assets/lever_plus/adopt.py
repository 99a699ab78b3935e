"""Take the files of a Lever-Plus results folder as the pipeline's own artifacts, where they lie.

Adoption writes manifests beside the files and nothing else; the one file that it makes is beam data put together
from rank shards. A manifest has ``origin: adopted``, what the files hold of themselves, and what is unknown.

A file passes four hands. It is *found* in the folder. Its *name* says which artifact of which cells it is part
of. The files of one artifact are a *claim*. A claim that is read through is *verified*, and compared with those
verified *before*. What became of it is a *finding*.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Literal

from icd_assets.errors import UserError
from icd_assets.experiment.catalog import Catalog
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.settings import Settings
from icd_assets.experiment.variants import variants
from icd_assets.lever_plus.folder import Found, files_under
from icd_assets.lever_plus.names import NOT_OF_A_CELL, Name, read_name
from icd_assets.lever_plus.verify import VERIFY, Examined, Verified
from icd_assets.runtime.disk_errors import SURELY
from icd_assets.store.atomic import make_folder
from icd_assets.store.digests import sha256_json
from icd_assets.store.manifest import Manifest, Spec
from icd_assets.store.room import require_folder
from icd_assets.store.store import Store

if TYPE_CHECKING:
    from icd_assets.datasets.vqa import VqaSplit

Outcome = Literal["adopted", "already", "refused", "left"]
_ORDER = list(VERIFY)  # the pipeline's
_IN_V3_FOLDERS = ("rce_checkpoints", "grpo_checkpoints")


@dataclass(frozen=True)
class Finding:
    """What became of one artifact, or of one file that is none. ``paths`` are those found of it."""

    outcome: Outcome
    paths: tuple[Path, ...]
    why: str
    asset: str | None = None


@dataclass(frozen=True)
class _Claim:
    """The files that, by their names, are one artifact of a cell."""

    experiment: Experiment
    asset: str
    named: dict[Path, Name] = field(default_factory=dict)

    @property
    def manifest_path(self) -> Path:
        return self.experiment.manifest_path(self.asset)

    @property
    def only_anchors(self) -> bool:
        """Of a sampler that left no pools."""
        return all(name.anchors for name in self.named.values())


@dataclass(frozen=True)
class Adoption:
    """Adopting one results folder. ``v2``: which of several v2 checkpoints to take."""

    root: Path
    catalog: Catalog
    settings: Settings
    v2: tuple[Path, ...] = ()
    dry_run: bool = False

    def run(self) -> Iterator[Finding]:
        """Every file's finding, dataset by dataset, artifacts in the order of the pipeline."""
        if not self.root.is_dir():
            raise UserError(f"{self.root} is not a folder; give the results folder of Lever-Plus.")
        inside = self.root.resolve()
        for path in self.v2:
            if not path.is_file() or not path.resolve().is_relative_to(inside):
                raise UserError(f"--v2 {path} is no file in {self.root}; LEVER_LM_CHECKPOINT_PATH takes others.")
        try:
            folders = sorted(self.root.iterdir())
        except OSError as error:
            raise UserError(f"{self.root} cannot be listed ({error.strerror}); give a folder that can.") from None
        for folder in folders:
            if folder.name.startswith(".") or not (folder.is_dir() or folder.is_symlink()):
                continue
            try:
                target = folder.resolve(strict=True)
            except (OSError, RuntimeError) as error:  # a link to nowhere or to itself
                why = getattr(error, "strerror", None) or "a link to itself"
                yield Finding("refused", (folder,), f"cannot be read ({why})")
                continue
            if not target.is_relative_to(inside):
                yield Finding("refused", (folder,), "leads out of the results folder; put the folder itself here")
            elif folder.name in self.catalog.datasets:
                yield from self._dataset(folder)
            else:
                yield Finding("left", (folder,), "the catalog has no dataset of this name")

    def experiments(self, dataset: str) -> list[Experiment]:
        """The dataset's cells under the settings; a v3 folder's name says its own reward and experiment."""
        cells = [cell for cell in self.catalog.cells if cell.dataset == dataset]
        return [Experiment.open(cell, self.settings, self.root, self.catalog) for cell in cells]

    def adopted(self, dataset: str) -> Iterator[tuple[Experiment, str, Manifest]]:
        """What is adopted of a dataset, artifact by artifact; of a cell's v3 folders the one under the settings
        comes last."""
        for e in self.experiments(dataset):
            folders = [*(one for one in variants(e) if one.suffix != e.suffix), e]
            for asset in VERIFY:
                for one in folders if asset in _IN_V3_FOLDERS else [e]:
                    try:
                        manifest = one.manifest(asset)
                    except UserError:  # reported with the file that it lies beside
                        continue
                    if manifest is not None and manifest.origin == "adopted":
                        yield one, asset, manifest

    def _dataset(self, folder: Path) -> Iterator[Finding]:
        """First names alone, file by file; then content, artifact by artifact."""
        experiments = self.experiments(folder.name)
        claims: dict[Path, _Claim] = {}
        for found in files_under(folder, self.root):
            owners = _owners(found, folder, experiments)
            if isinstance(owners, Finding):
                yield owners
                continue
            name, cells = owners
            for e in cells:
                claim = claims.setdefault(e.manifest_path(name.asset), _Claim(e, name.asset))
                claim.named[found.path] = name
        yield from self._judged(experiments, claims.values())

    def _judged(self, experiments: list[Experiment], claims: Iterable[_Claim]) -> Iterator[Finding]:
        """In the order of the pipeline: later artifacts are compared with those verified before."""
        train = _once(experiments[0])
        before: dict[Path, Verified] = {}
        for claim in sorted(claims, key=lambda claim: _ORDER.index(claim.asset)):
            if claim.asset == "embeddings":  # all cells share them; one with a v2 checkpoint knows their encoder
                with_v2 = (e for e in experiments if _has_v2(e, before))
                claim = replace(claim, experiment=next(with_v2, claim.experiment))
            if not claim.only_anchors:
                yield from self._artifact(claim, train, before)

    def _artifact(
        self, claim: _Claim, train: Callable[[], VqaSplit], before: dict[Path, Verified]
    ) -> Iterator[Finding]:
        e, asset, named, path = claim.experiment, claim.asset, claim.named, claim.manifest_path
        try:
            there = e.store.read(path)
            if asset == "v2_checkpoint":
                named, others = self._chosen(e, named, there)
                yield from others
            if (finding := self._known(e.store, path, there, named)) is not None:
                yield replace(finding, asset=asset)
                return
            as_they_were = _AsTheyWere(named)
            with self._staging(e, named) as staging:
                verified = VERIFY[asset](Examined(e, train, Path(staging), before), named)
                as_they_were.require()
                fields = _fields(e, asset, verified)
                e.store.rehearse(path, verified.files, **fields)  # in a dry run the rest of what may be refused
                if self.dry_run:
                    before[path] = verified
                else:
                    with e.store.lock(path):
                        e.store.recover(path)
                        e.store.commit(path, verified.files, as_they_were.require, **fields)
            used = tuple(found for found in named if found in verified.files)
            yield Finding("adopted", used or tuple(named), verified.summary, asset)
        except UserError as error:
            yield Finding("refused", tuple(named), str(error).rstrip("."), asset)
        except OSError as error:
            # A full disk, say, refuses all that follows too; what lies elsewhere is no fault of these files.
            named_by = error.filename if isinstance(error.filename, str | bytes) else ""
            if error.errno in SURELY or not Path(os.fsdecode(named_by)).is_relative_to(self.root):
                raise
            yield Finding("refused", tuple(named), f"cannot be read ({error.strerror or error})", asset)

    def _staging(self, e: Experiment, named: Mapping[Path, Name]) -> AbstractContextManager[str]:
        """For shards alone, which are put together there: on the file system of the results, unless nothing is to
        be written to it."""
        if not any(name.shard for name in named.values()):
            return nullcontext("")
        if self.dry_run:
            return tempfile.TemporaryDirectory()
        folder = e.store.private / "staging"
        require_folder(folder)
        make_folder(folder)
        return tempfile.TemporaryDirectory(prefix="adopt-", dir=folder)

    def _chosen(
        self, e: Experiment, named: dict[Path, Name], there: Manifest | None
    ) -> tuple[dict[Path, Name], list[Finding]]:
        """Of several v2 checkpoints the one that --v2 names, else the one in use, else the one upstream prefers;
        and a finding for each other."""
        in_use = [] if there is None else [e.store.resolve(record) for record in there.files]
        for preferred in (self.v2, in_use, [e.paths.v2_checkpoint]):
            if candidates := [path for path in named if path in preferred]:
                break
        else:
            candidates = list(named)
        if len(candidates) > 1:
            names = ", ".join(path.name for path in candidates[:4])
            raise UserError(f"{len(candidates)} v2 checkpoints of {e.cell} ({names}); choose one with --v2 PATH.")
        why = f"{candidates[0].name} is taken; --v2 PATH takes this one instead"
        others = [Finding("left", (path,), why, "v2_checkpoint") for path in named if path not in candidates]
        return {path: named[path] for path in candidates}, others

    def _known(
        self, store: Store, path: Path, there: Manifest | None, named: Mapping[Path, Name]
    ) -> Finding | None:
        """The finding for what has a manifest; None if there is something to adopt."""
        if there is None:
            return None
        recorded = {store.resolve(record) for record in there.files}
        if any(found in self.v2 and found not in recorded for found in named):
            return None
        damage = store.damage(there)
        if there.origin != "made":
            # Shards were put together in a place of ours where the user's has another thing.
            ours = there.origin == "imported" or all(name.shard for name in named.values())
            same = damage is None and (ours or not recorded.isdisjoint(named))
            return Finding("already", tuple(named), there.origin) if same else None
        if damage is not None:
            raise UserError(f"{damage}, and {path.name} is about the old one; delete that to adopt this file")
        if foreign := tuple(found for found in named if found not in recorded):
            return Finding("left", foreign, f"the cell has its own, {there.files[0].path}")
        return Finding("already", tuple(named), "made by this project")


def _owners(found: Found, folder: Path, experiments: list[Experiment]) -> tuple[Name, list[Experiment]] | Finding:
    """What a file is by its name, and the cells that it belongs to; a finding if to none."""
    if found.problem is not None:
        return Finding("refused", (found.path,), found.problem)
    name = read_name(PurePath(found.path.relative_to(folder)), folder.name)
    if not isinstance(name, Name):
        return Finding("left", (found.path,), name)
    if not _is_utf8(found.path.relative_to(folder.parent)):
        return Finding("refused", (found.path,), "its name is not UTF-8, as a manifest has to be; rename it")
    fitting = [e for e in experiments if name.fits(e)]
    if not fitting:
        return Finding("left", (found.path,), _no_cell(name), name.asset)
    # Of cells whose names begin alike the longest, of equals the first.
    experiment = max(fitting, key=lambda e: len(e.cell.model) if name.epoch else 0)
    if (why := name.of_other_settings(experiment)) is not None:
        return Finding("left", (found.path,), why, name.asset)
    if name.epoch:
        try:
            experiment = experiment.in_folder(name.suffix(experiment))
        except UserError as error:
            return Finding("left", (found.path,), str(error).rstrip("."), name.asset)
    return name, experiments if name.anchors else [experiment]  # all samplers share the anchors


class _AsTheyWere:
    """Whether files are still those that they were when this was made: what is recorded is what was verified."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._before = {path: _stamp(path) for path in paths}

    def require(self) -> None:
        for path, stamp in self._before.items():
            if _stamp(path) != stamp:
                raise UserError(f"{path} was changed while it was read; adopt again when nothing writes it.")


def _stamp(path: Path) -> tuple[int, ...]:
    """Empty for a file that is not there."""
    try:
        facts = path.stat()
    except OSError:
        return ()
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns


def _is_utf8(path: PurePath) -> bool:
    try:
        return bool(str(path).encode())
    except UnicodeEncodeError:
        return False


def _fields(e: Experiment, asset: str, verified: Verified) -> dict[str, Any]:
    """What the manifest beside the files says, but for the files."""
    spec = Spec(asset=asset, code_version="unknown", config=dict(verified.config), inputs=dict(verified.inputs))
    return {
        "spec": spec,
        "config_digest": sha256_json(spec.config),
        "facts": dict(verified.facts),
        "origin": "adopted",
        "unknown": verified.all_unknown,
        "cell": e.cell.key,
        "run_id": None,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": 0.0,
        "environment": {"device": "unknown"},
    }


def _once(experiment: Experiment) -> Callable[[], VqaSplit]:
    """The train split, read when first needed; all cells of a dataset share it."""

    def train() -> VqaSplit:
        experiment.data.prepare()
        return experiment.data.train

    return train


def _has_v2(e: Experiment, before: Mapping[Path, Verified]) -> bool:
    path = e.manifest_path("v2_checkpoint")
    return path in before or path.is_file()


def _no_cell(name: Name) -> str:
    if name.asset in NOT_OF_A_CELL:
        return NOT_OF_A_CELL[name.asset]
    return f"the catalog has no model {name.model}; add it in an overlay file"
