"""What a file name in a Lever-Plus results folder says (SPEC A.2, A.3): which artifact, of which cell.

Read tolerantly, as upstream's versions differ: ``max_shot`` and ``few_shot``, a blank after a colon or none, both
tails of sampler caches, dots in model names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath

from icd_assets.experiment.experiment import Experiment
from icd_assets.pools.config import SAMPLERS

_SAMPLER = f"(?P<sampler>{'|'.join(SAMPLERS)})"
_ANCHORS = re.compile(r"anchor_sample_num: ?(?P<sample_num>[0-9]+)\.json")
_POOLS = re.compile(rf"{_SAMPLER}-anchor_sample_num: ?(?P<sample_num>[0-9]+): ?(?P<pool_size>[0-9]+)-?\.json")
_BEAMS = re.compile(
    rf"(?P<model>.+)-{_SAMPLER}-scorer: ?(?P<scorer>\w+)-"
    r"construct_order: ?(?P<order>\w+)-beam_size: ?(?P<beam_size>[0-9]+)-(?:max|few)_shot: ?(?P<shots>[0-9]+)-"
    r"candidate_num: ?(?P<pool_size>[0-9]+)-sample_num: ?(?P<sample_num>[0-9]+)"
    r"(?P<shard>_rank: ?[0-9]+_\((?P<start>[0-9]+), ?(?P<end>[0-9]+)\))?\.json"
)
_RL_DATA = re.compile(rf"rl_data_{_SAMPLER}_(?P<model>.+?)\.json")
_V2 = re.compile(
    rf"(?P<model>.+)_{_SAMPLER}_infoscore_left_beam(?P<beam_size>[0-9]+)_shot(?P<shots>[0-9]+)_"
    r"cand(?P<pool_size>[0-9]+)_sample(?P<sample_num>[0-9]+)(?P<rest>.*)\.ckpt"
)
_V3 = re.compile(rf"v3_{_SAMPLER}_(?P<model>.+)")
_EPOCH = re.compile(r"(?P<phase>rce|grpo)_epoch(?P<epoch>[1-9][0-9]{0,5})\.pt")
_NUMBERS = ("shots", "pool_size", "beam_size", "sample_num")

# Found under a name that is no cell's: how its content can still be used.
NOT_OF_A_CELL = {
    "rl_data": "RL data, but not under the name of a cell; RL_DATA_PATH=… trains from it where it lies",
    "v2_checkpoint": "not under the name of a cell; LEVER_LM_CHECKPOINT_PATH=… imports it where it lies",
}
_CONVERTED = (
    "understood, but converted anew from its .pt: upstream's conversion knows attention by its older name alone, "
    "so that today's loader leaves it random"
)
_FOREIGN = "no file of the pipeline"
EMBEDDINGS = ("query_embeddings.pt", "candidate_embeddings.pt")


@dataclass(frozen=True)
class Name:
    """An artifact's file by its name. ``sampler`` and ``model`` are as written there, None where not in it; the
    model of a v3 folder still has the suffix of reward and experiment."""

    asset: str
    sampler: str | None = None
    model: str | None = None
    numbers: Mapping[str, int] = field(default_factory=dict)
    task: str | None = None
    anchors: bool = False
    shard: tuple[int, int] | None = None  # [start, end) of the anchors
    epoch: int = 0

    def fits(self, experiment: Experiment) -> bool:
        """Whether it is of this cell (of its dataset); numbers and reward may still be other ones."""
        cell = experiment.cell
        if self.sampler not in (None, cell.sampler) or self.task not in (None, experiment.dataset.task):
            return False
        if self.model is None:
            return True
        if self.epoch:
            return re.fullmatch(re.escape(cell.model) + "(_.*)?", self.model) is not None
        if self.asset == "v2_checkpoint":
            return self.model == experiment.model.safe_name
        return re.sub(r"[./ ]", "_", self.model) == cell.model

    def of_other_settings(self, experiment: Experiment) -> str | None:
        """Under which settings it would be its cell's artifact, in words; None if under today's."""
        today = {**experiment.settings.shared.model_dump(), "sample_num": experiment.dataset.sample_num}
        other = [
            f"sample_num: {value} in the catalog" if name == "sample_num" else f"--set shared.{name}={value}"
            for name, value in self.numbers.items()
            if today[name] != value
        ]
        return f"of other settings: {', '.join(other)}" if other else None

    def suffix(self, experiment: Experiment) -> str:
        """Of a file in a v3 folder of the cell: what follows the cell in the folder's name."""
        return (self.model or "").removeprefix(experiment.cell.model)


def read_name(path: PurePath, dataset: str) -> Name | str:
    """``path`` is relative to the dataset's folder. A text says why it is no artifact of ours."""
    inside, name = path.parts[1:], path.name
    if path.parts[0] == "cache":
        return _cache(name, dataset)
    if path.parts[0] == "generated_data":
        return _generated(inside, name, dataset)
    if path.parts[0] == "model_cpk" and len(inside) > 1:
        return _checkpoint(inside, name)
    if path.parts[0] == "icl_inference":
        return "accuracies without the answers behind them; evaluation measures anew"
    return _FOREIGN


def _cache(name: str, dataset: str) -> Name | str:
    if name in EMBEDDINGS:
        return Name("embeddings")
    own = name.removeprefix(f"{dataset}-")
    if (found := _POOLS.fullmatch(own)) is not None:
        return Name("candidate_pools", found["sampler"], numbers=_numbers(found))
    if (found := _ANCHORS.fullmatch(own)) is not None:
        return Name("candidate_pools", numbers=_numbers(found), anchors=True)
    if name.endswith(("Features.pth", "-emb_cache.pth")):
        return "CLIP features of a sampler or a baseline; they name no model revision, so ours are computed anew"
    return _FOREIGN


def _generated(inside: tuple[str, ...], name: str, dataset: str) -> Name | str:
    task, _, rest = name.partition("-")
    if (found := _BEAMS.fullmatch(rest.removeprefix(f"{dataset}-"))) is not None:
        if (found["scorer"], found["order"]) != ("infoscore", "left"):
            return "beam data of another scorer or order than infoscore, left"
        shard = (int(found["start"]), int(found["end"])) if found["shard"] else None
        if inside[:-1] != (("sub_proc_data",) if shard else ()):
            return "beam data that does not lie where Lever-Plus writes it; move it there"
        return Name("beam_data", found["sampler"], found["model"], _numbers(found), task, shard=shard)
    if (found := _RL_DATA.fullmatch(name)) is not None and len(inside) == 1:
        return Name("rl_data", found["sampler"], found["model"])
    return NOT_OF_A_CELL["rl_data"] if name.startswith(("rl_data", "shard_gpu")) else _FOREIGN


def _checkpoint(inside: tuple[str, ...], name: str) -> Name | str:
    folder = inside[0]
    if (found := _V3.fullmatch(folder)) is not None and len(inside) == 2:
        if (epoch := _EPOCH.fullmatch(name)) is not None:
            asset = f"{epoch['phase']}_checkpoints"
            return Name(asset, found["sampler"], found["model"], epoch=int(epoch["epoch"]))
        return _CONVERTED if name.endswith("_v2format.ckpt") else _FOREIGN
    if folder == "v2" and len(inside) == 2 and name.endswith(".ckpt"):
        if (found := _V2.fullmatch(name)) is not None:
            return Name("v2_checkpoint", found["sampler"], found["model"], _numbers(found))
        return NOT_OF_A_CELL["v2_checkpoint"]
    if "lora" in folder:
        return "a selector with adapters on the CLIP towers; LoRA is not supported"
    if folder == "v3" or folder.startswith("v3_"):
        return "the folder's name is not v3_<sampler>_<model>, so its cell is not known"
    return "of another selector than v2 and v3"


def _numbers(found: re.Match[str]) -> dict[str, int]:
    return {name: int(found[name]) for name in _NUMBERS if name in found.re.groupindex}
