"""Is a file of Lever-Plus what its name says? Each kind is read strictly, and what steps need of it is worked out.

A verifier gets an :class:`Examined` cell and the artifact's files, and returns what goes into the manifest, or
raises :class:`UserError`: one sentence that names the file and the first thing wrong with it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icd_assets.errors import UserError
from icd_assets.experiment.experiment import Experiment
from icd_assets.lever_plus.names import EMBEDDINGS, Name
from icd_assets.runtime.foreign import brief
from icd_assets.store.manifest import Input

if TYPE_CHECKING:
    from icd_assets.datasets.vqa import VqaSplit
    from icd_assets.scoring.rl_data import RlData

_ALWAYS_UNKNOWN = ("config", "code", "seed", "versions", "run")
_BLOCK = 4096  # embedding rows looked at together
_UPSTREAMS_HABITS = ("occurs twice", "holds the query itself")  # SPEC C: Mix, and ties of TextSim and ImgSim
_LONGEST_ENTRY = 2000  # characters of one entry of `_meta` that are kept
_LONGEST_META = 100_000  # characters of all of them: a manifest is a small file
_MOST_METRICS = 100
_SPOT_ROWS = 4
_SPOT_COSINE = 0.999


@dataclass(frozen=True)
class Verified:
    """What adoption writes into a manifest. ``files``: final path → itself, or the staged file that becomes it;
    ``inputs``: those that the files were checked against; ``summary``: the report's words."""

    files: Mapping[Path, Path]
    facts: Mapping[str, Any]
    summary: str
    inputs: Mapping[str, Input] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()

    @property
    def all_unknown(self) -> list[str]:
        return [*_ALWAYS_UNKNOWN, *self.unknown]


@dataclass
class Examined:
    """A cell under examination: what was verified of it before, on disk or in this look."""

    experiment: Experiment
    train: Callable[[], VqaSplit]  # raises if the dataset's files are not there
    staging: Path
    before: dict[Path, Verified]

    def facts(self, asset: str) -> Mapping[str, Any]:
        """Of an artifact that is there or was verified in this look; empty if neither."""
        path = self.experiment.manifest_path(asset)
        if path in self.before:
            return self.before[path].facts
        manifest = self.experiment.manifest(asset)
        return {} if manifest is None else manifest.facts

    def files(self, asset: str) -> list[Path]:
        path = self.experiment.manifest_path(asset)
        if path in self.before:
            return list(self.before[path].files.values())
        return [] if self.experiment.manifest(asset) is None else self.experiment.files(asset)

    @property
    def dataset(self) -> dict[str, Input]:
        return {"dataset": self.experiment.data.digest("train")}


Named = Mapping[Path, Name]
Verify = Callable[[Examined, Named], Verified]


def candidate_pools(cell: Examined, named: Named) -> Verified:
    from icd_assets.pools.files import read_anchors, read_pools

    e, n_rows = cell.experiment, len(cell.train())
    path = _one([path for path, name in named.items() if not name.anchors], e.paths.train_pools)
    count, size = min(e.dataset.sample_num, n_rows), e.settings.shared.pool_size
    try:
        pools = read_pools(path, n_rows=n_rows, size=size)
    except UserError as error:
        problem = str(error)
        if not any(habit in problem for habit in _UPSTREAMS_HABITS):
            raise
        found = problem.partition(";")[0]
        raise UserError(
            f"{found}, as Lever-Plus' samplers may leave it; pools are made anew, and RL data made from these can "
            "still be adopted: they carry their own."
        ) from None
    if len(pools) != count:
        raise UserError(f"{path} holds {len(pools)} pools, not {count}; its sampler was interrupted.")
    files = {path: path}
    for anchors in (path for path, name in named.items() if name.anchors):
        if set(read_anchors(anchors, n_rows=n_rows, count=count)) != set(pools):
            raise UserError(f"{anchors} and {path} are about other queries; they were not made together.")
        files[anchors] = anchors
    return Verified(
        files,
        {"rows": len(pools), "pool_size": size, "train_rows": n_rows},
        f"{len(pools)} pools of {size} rows",
        cell.dataset,
        unknown=("sampler's CLIP model", "whether pools hold other questions on the query's image"),
    )


def beam_data(cell: Examined, named: Named) -> Verified:
    from icd_assets.pools.files import read_pools
    from icd_assets.scoring.beam_file import read_beams, require_in_pools

    e, n_rows = cell.experiment, len(cell.train())
    whole = [path for path, name in named.items() if name.shard is None]
    if whole:
        path = _one(whole, e.paths.beam_data)
        files, summary = {path: path}, "beams"
    else:
        path = cell.staging / "beams.json"
        _concatenated(named, e.dataset.sample_num, path)
        files, summary = {e.paths.beam_data: path}, f"beams, put together from {len(named)} rank shards"
    beams = read_beams(path, rows=n_rows)
    shots = e.settings.shared.shots
    for row, query in beams.items():
        if len(query.beams[0].icds) != shots:
            raise UserError(f"{path}: query {row} has {len(query.beams[0].icds)} shots, the name says {shots}.")
    if pools := cell.files("candidate_pools"):
        size = e.settings.shared.pool_size
        require_in_pools(path, beams, read_pools(pools[0], n_rows=n_rows, size=size))
    best = [query.beams[0].score for query in beams.values()]
    return Verified(
        files,
        {"rows": len(beams), "mean_best_score": sum(best) / len(best)},
        f"{len(beams)} queries' {summary}",
        cell.dataset,
        unknown=("VLM digest", "candidate pools"),
    )


def _concatenated(shards: Named, count: int, path: Path) -> None:
    """One file from the ranks' (SPEC A.2), if they cover every anchor and each is finished."""
    from icd_assets.datasets.json_file import read_json

    ordered = sorted((name.shard or (0, 0), shard) for shard, name in shards.items())
    content: dict[str, Any] = {}
    reached = 0
    for (start, end), shard in ordered:
        if start != reached:
            raise UserError(f"{shard} begins at anchor {start}, but the shards before it end at {reached}.")
        part = read_json(shard, unique_keys=True)
        if not isinstance(part, dict) or len(part) != end - start:
            held = len(part) if isinstance(part, dict) else 0
            raise UserError(f"{shard} holds {held} of the {end - start} queries that its name says; finish it.")
        if twice := content.keys() & part.keys():
            raise UserError(f"{shard}: query {brief(min(twice), 40)} is in another shard too.")
        content |= part
        reached = end
    if reached != count:
        raise UserError(f"{ordered[-1][1]} ends at anchor {reached} of {count}; a rank's shard is missing.")
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def v2_checkpoint(cell: Examined, named: Named) -> Verified:
    from icd_assets.selector.encoder import ClipEncoder
    from icd_assets.selector.key_names import shape_facts
    from icd_assets.selector.v2_file import read_v2

    (path,) = named
    checkpoint = read_v2(path)
    e = cell.experiment
    entry = e.encoder(e.dataset.encoder)
    encoder = ClipEncoder.of_checkpoint(checkpoint.towers, entry.path, revision=entry.revision)
    shape = shape_facts(checkpoint.state, path)
    if encoder.dim != shape["embedding_dim"]:
        raise UserError(
            f"{path}: the selector reads embeddings of width {shape['embedding_dim']}, but its CLIP model gives "
            f"{encoder.dim}; set the dataset's encoder to the one that it was trained with."
        )
    towers = "its own CLIP towers" if checkpoint.towers else f"the catalog's {entry.name}"
    return Verified(
        {path: path},
        {"encoder_digest": encoder.digest, "epoch": checkpoint.epoch, **shape},
        f"{shape['num_layers']} layer, width {shape['embedding_dim']}, {towers}",
        {"encoder": e.weights_of(entry)},
        {"source": "import"},
        unknown=("beam data",),
    )


def embeddings(cell: Examined, named: Named) -> Verified:
    import torch

    from icd_assets.selector.embedding_file import read_embeddings

    train = cell.train()
    by_name = {path.name: path for path in named}
    if missing := [name for name in EMBEDDINGS if name not in by_name]:
        raise UserError(f"{next(iter(named))} is there, but {missing[0]} is not; both are read.")
    query, candidate = (by_name[name] for name in EMBEDDINGS)
    found, other = (read_embeddings(path, rows=len(train)) for path in (query, candidate))
    if found.shape != other.shape:
        raise UserError(f"{query} and {candidate} differ in width; training uses one matrix for both.")
    for start in range(0, len(train), _BLOCK):
        block = found[start : start + _BLOCK]
        unit = torch.isclose(block.norm(dim=-1), torch.ones(()), atol=1e-3)  # False for NaN
        if not unit.all():
            wrong = start + int(unit.logical_not().nonzero()[0])
            raise UserError(f"{query}: row {wrong} is not finite or not of length 1; export the embeddings again.")
        if not torch.equal(block, other[start : start + _BLOCK]):
            raise UserError(f"{query} and {candidate} differ; training uses one matrix for both.")
    width = cell.facts("v2_checkpoint").get("embedding_dim", found.size(1))
    if width != found.size(1):
        raise UserError(f"{query} has width {found.size(1)}, but the v2 checkpoint reads {width}.")
    inputs, summary, unknown = _spot_check(cell, query, found)
    facts = {"rows": found.size(0), "width": found.size(1)}
    return Verified(
        {query: query, candidate: candidate},
        facts,
        f"{facts['rows']} rows of width {facts['width']}; {summary}",
        cell.dataset | inputs,
        unknown=unknown,
    )


def _spot_check(cell: Examined, path: Path, found: Any) -> tuple[dict[str, Input], str, tuple[str, ...]]:
    """Encode a few rows with the v2 checkpoint's towers and compare: the matrix names no encoder."""
    from icd_assets.selector.encoder import ClipEncoder
    from icd_assets.selector.v2_file import read_v2

    e, train = cell.experiment, cell.train()
    unchecked: dict[str, Input] = {}
    if not (v2 := cell.files("v2_checkpoint")):
        return unchecked, "not compared with an encoder: no v2 checkpoint", ("encoder",)
    last = len(train) - 1
    rows = sorted({round(k * last / (_SPOT_ROWS - 1)) for k in range(_SPOT_ROWS)})
    items = [train[row] for row in rows if train[row].image.is_file()]
    if not items:
        return unchecked, "not compared with an encoder: no images", ("encoder",)
    entry = e.encoder(e.dataset.encoder)
    encoder = ClipEncoder.of_checkpoint(read_v2(v2[0]).towers, entry.path, revision=entry.revision)
    own = encoder.encode(items)
    cosine = float((own * found[[item.row for item in items]]).sum(-1).min())
    if not cosine >= _SPOT_COSINE:
        raise UserError(
            f"{path}: a row has cosine {cosine:.4f} with what the v2 checkpoint's encoder gives for it; it is of "
            "another encoder or another order of rows."
        )
    digest = Input(data_version=cell.facts("v2_checkpoint")["encoder_digest"])
    return {"v2_checkpoint.encoder": digest}, f"{len(items)} encoded again: cosine {cosine:.4f} or more", ()


def rl_data(cell: Examined, named: Named) -> Verified:
    from icd_assets.scoring.rl_data import require_same_questions
    from icd_assets.scoring.rl_file import read_rl_data
    from icd_assets.scoring.rl_signal import facts

    e, train = cell.experiment, cell.train()
    path = _one(list(named), e.paths.rl_data)
    data = read_rl_data(path, n_rows=len(train))
    require_same_questions(path, data, train)
    _require_same_model(path, data, e)
    found = facts(data, e.reward, e.task.metric_name.lower())
    known = all(query.question_id is not None for query in data.queries)
    return Verified(
        {path: path},
        {**found, "generation": data.generation, "says_of_itself": _short(data.meta)},
        f"generation {data.generation}, {found['rows']} queries, {found['candidates']} candidates"
        + (f"; {repairs}" if (repairs := data.repairs()) else ""),
        cell.dataset,
        unknown=("VLM digest", "v2 checkpoint", "embeddings", *(() if known else ("questions",))),
    )


def _short(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Without the lists of thousands of ids that some tools put there."""
    kept: dict[str, Any] = {}
    left = _LONGEST_META
    for key, value in meta.items():
        length = len(key) + len(json.dumps(value))
        if length <= min(left, _LONGEST_ENTRY):
            kept[key] = value
            left -= length
    return kept


def _require_same_model(path: Path, data: RlData, e: Experiment) -> None:
    """The file may say whose answers it holds."""
    claimed = data.meta.get("vqa_model")
    if claimed in (e.model.name, e.model.source, *e.model.aliases):
        return  # the same model may be in the catalog twice: by its path, and served
    for name, model in e.catalog.models.items():
        if claimed in (name, model.source, *model.aliases):
            raise UserError(f"{path}: its _meta says that {name} answered, but its name says {e.cell.model}.")


def rce_checkpoints(cell: Examined, named: Named) -> Verified:
    return _trained(cell, named, "rce")


def grpo_checkpoints(cell: Examined, named: Named) -> Verified:
    """Lever-Plus trains GRPO in the run that trained RCE, into one folder: it went on from those epochs."""
    verified = _trained(cell, named, "grpo")
    manifest = cell.experiment.manifest("rce_checkpoints")
    if manifest is None or manifest.origin != "adopted":
        return verified
    rce = cell.experiment.as_input("rce_checkpoints", manifest, manifest.data_version)
    return Verified(verified.files, verified.facts, verified.summary, {"rce_checkpoints": rce}, verified.config)


def _trained(cell: Examined, named: Named, phase: str) -> Verified:
    from icd_assets.selector.key_names import shape_facts
    from icd_assets.selector.v3_file import read_v3

    history, shapes = [], []
    ordered = sorted(named, key=lambda path: named[path].epoch)
    for path in ordered:
        checkpoint = read_v3(path)
        if (checkpoint.phase, checkpoint.epoch + 1) != (phase, named[path].epoch):
            raise UserError(
                f"{path}: the file says {checkpoint.phase} epoch {checkpoint.epoch + 1}; it was renamed."
            )
        history.append(_finite(checkpoint.metrics))
        shapes.append(shape_facts(checkpoint.model_state_dict, path))
        if shapes[-1] != shapes[0]:
            raise UserError(f"{path}: its selector has another shape than that of {ordered[0].name}.")
    width = cell.facts("v2_checkpoint").get("embedding_dim", shapes[0]["embedding_dim"])
    if width != shapes[0]["embedding_dim"]:
        raise UserError(
            f"{ordered[0]} reads embeddings of width {shapes[0]['embedding_dim']}, the v2 checkpoint {width}."
        )
    epochs = [named[path].epoch for path in ordered]
    facts: dict[str, Any] = {"epochs": epochs[-1], "history": history, **shapes[0]}
    if all("val_loss" in metrics for metrics in history):  # expected reward is ours alone
        facts["best_epoch"] = epochs[min(range(len(epochs)), key=lambda i: history[i]["val_loss"])]
        facts["best_epoch_by"] = "val_loss"
    gaps = "" if len(epochs) == epochs[-1] else f" (only {len(epochs)} of them are there)"
    return Verified(
        {path: path for path in ordered},
        facts,
        f"epochs up to {epochs[-1]}{gaps}",
        config={"reward": cell.experiment.reward.model_dump(mode="json")},
        unknown=("RL data", "v2 checkpoint", "embeddings"),
    )


def _finite(metrics: Mapping[Any, Any]) -> dict[str, float]:
    """Those of a checkpoint's metrics that a manifest can hold: numbers, under names that are texts."""
    found: dict[str, float] = {}
    for name, value in metrics.items():
        if type(value) is int and abs(value) < 1 << 53:
            value = float(value)
        if type(value) is float and math.isfinite(value) and isinstance(name, str) and name.isprintable():
            found[name[:100]] = value
        if len(found) == _MOST_METRICS:
            break
    return found


def _one(paths: list[Path], usual: Path) -> Path:
    """The file; of several that claim to be it, the one under the usual name."""
    if not paths:
        raise UserError(f"{usual} is not there; what belongs to it was found alone.")
    if len(paths) > 1 and usual not in paths:
        raise UserError(f"{paths[0]} and {paths[1].name} both claim to be it; keep one under this name.")
    return usual if usual in paths else paths[0]


VERIFY: dict[str, Verify] = {
    "candidate_pools": candidate_pools,
    "beam_data": beam_data,
    "v2_checkpoint": v2_checkpoint,
    "embeddings": embeddings,
    "rl_data": rl_data,
    "rce_checkpoints": rce_checkpoints,
    "grpo_checkpoints": grpo_checkpoints,
}
