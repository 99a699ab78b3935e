"""Is what a step made fit to go on with? Bad RL data or a bad checkpoint stops a run before it costs a GPU more.

Each judge measures an artifact that is there and says in a sentence why it is not fit. Dagster runs them after the
step; :func:`judged` runs them again before a later plan builds on the artifact, so that a failed check is not
forgotten with the run that it failed in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icd_assets.errors import UserError
from icd_assets.experiment.checks.look import Look
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.recipes import STAGES
from icd_assets.runtime.finding import Finding
from icd_assets.scoring.rewards import RewardConfig, knows_correct, reward
from icd_assets.scoring.rl_data import RlData, RlQuery

if TYPE_CHECKING:
    from icd_assets.selector.model import PointerSelector

_SHOWN = 40  # characters of an answer
_ALIKE = 0.5  # share of one answer from which on the model seems not to look


@dataclass(frozen=True)
class Verdict:
    """What was measured, and why the artifact is not fit; None if it is."""

    measured: Mapping[str, Any] = field(default_factory=dict)
    reason: str | None = None


Judge = Callable[[Experiment], Verdict]


def rl_data(experiment: Experiment) -> Verdict:
    """Re-reads the file: schema, ranges and uniqueness are the reader's; here the numbers."""
    from icd_assets.scoring.rl_file import read_rl_data
    from icd_assets.scoring.rl_signal import signal

    data = read_rl_data(experiment.files("rl_data")[0])
    config = experiment.reward
    summary = signal(data, config)
    rewards = [reward(answered, config) for query in data.queries for answered in query.pointers]
    measured = {
        "queries": summary.queries,
        "candidates": summary.pointers,
        "lowest_reward": min(rewards, default=0.0),
        "highest_reward": max(rewards, default=0.0),
        "share_with_reward_levels": summary.share_with_reward_levels,
    }
    if summary.queries and summary.pointers and summary.share_with_reward_levels > 0:
        return Verdict(measured)
    return Verdict(measured, without_signal(data, config, summary.pointers))


def without_signal(data: RlData, config: RewardConfig, usable: int) -> str:
    """Why RL data teach nothing: how many answers were right, which were most frequent, and what helps."""
    pointers = [answered for query in data.queries for answered in query.pointers]
    if not pointers:
        return f"it holds {len(data.queries)} queries and no pointer; make it again with --force rl_data"
    if not usable:
        return f"none of its {len(pointers):,} answers could be judged; make it again with --force rl_data"
    answers = Counter(answered.vqa_pred_answer for answered in pointers)
    most = ", ".join(f"{_quoted(text)} {count:,} times" for text, count in answers.most_common(3))
    said = f"the model answered {most} of {len(pointers):,}{_raw(data, answers)}"
    right = sum(answered.positive for answered in pointers)
    if not knows_correct(config):
        head = f"in each of its {len(data.queries):,} queries all pointers earn the same reward"
    elif right == 0:
        head = f"no pointer of {len(pointers):,} in {len(data.queries):,} queries was ever right"
    elif right == len(pointers):
        head = f"every one of its {len(pointers):,} pointers was right, so none is better than another"
    else:
        head = (
            f"{right:,} of {len(pointers):,} pointers were right, but in each of {len(data.queries):,} queries "
            "all pointers earn the same reward"
        )
    golds = _golds(data.queries) if right == 0 else ""
    alike = answers.most_common(1)[0][1] > _ALIKE * len(pointers)
    return f"{head}; {said}{golds}; {_helps(right, len(pointers), alike=alike)}"


def _helps(right: int, total: int, *, alike: bool) -> str:
    if right == 0 or (alike and right < total):
        return (
            "ask it a few questions with icd-assets doctor --smoke, then fix the model's prompt or take another "
            "model; or let wrong answers be graded with --reward-mode hard_plus_gtprob_plus_rel"
        )
    if right == total:
        return "take harder questions, or a reward that grades answers, as --reward-mode soft_only"
    return "propose more pointers with --set rl_data.samples_per_temp=4 --set rl_data.num_random=4"


def _golds(queries: Iterable[RlQuery]) -> str:
    golds = Counter(gold for query in queries for gold in query.gt_answers_raw)
    if not golds:
        return ""
    most = ", ".join(_quoted(text) for text, _ in golds.most_common(3))
    return f", while the annotators' most frequent answers are {most}"


def _raw(data: RlData, answers: Counter[str]) -> str:
    """What the model wrote where nothing of it is taken as its answer."""
    if answers.most_common(1)[0][0].strip():
        return ""
    raw = Counter(
        answered.vqa_raw_generation
        for query in data.queries
        for answered in query.pointers
        if answered.vqa_raw_generation and not answered.vqa_pred_answer.strip()
    )
    return f" (it wrote {_quoted(raw.most_common(1)[0][0])})" if raw else " (it wrote nothing)"


def _quoted(text: str) -> str:
    flat = " ".join(text.split())
    return repr(flat if len(flat) <= _SHOWN else f"{flat[:_SHOWN]}…")


def single_labels(experiment: Experiment) -> Verdict:
    return _labels(experiment, "single_labels")


def step_labels(experiment: Experiment) -> Verdict:
    return _labels(experiment, "step_labels")


def _labels(experiment: Experiment, asset: str) -> Verdict:
    """Re-reads the file; labels that are alike for all candidates of every query teach no choice."""
    from icd_assets.scoring.step_label_file import read_step_labels

    found = read_step_labels(experiment.files(asset)[0])
    steps = [step for own in found.steps.values() for step in own]
    differing = sum(len({value for value in step.values if value is not None}) > 1 for step in steps)
    measured = {"queries": len(found.steps), "prefixes": len(steps), "prefixes_that_teach": differing}
    if differing:
        return Verdict(measured)
    return Verdict(
        measured,
        f"after none of its {len(steps):,} prefixes one candidate is better than another; ask the model a few "
        "questions with icd-assets doctor --smoke, or let labels be likelihoods (single_labels.label)",
    )


def singles_selector(experiment: Experiment) -> Verdict:
    return _selector(experiment, "singles_selector")


def sequence_selector(experiment: Experiment) -> Verdict:
    return _selector(experiment, "sequence_selector")


def rl_selector(experiment: Experiment) -> Verdict:
    return _selector(experiment, "rl_selector")


def _selector(experiment: Experiment, asset: str) -> Verdict:
    """Strict reading is the judgement; it raises the sentence."""
    from icd_assets.selector.selector_file import read_selector

    found = read_selector(experiment.files(asset)[0].parent)
    return Verdict({"tensors": len(found.policy.state_dict()), "architecture": found.policy.config.architecture})


def v2_checkpoint(experiment: Experiment) -> Verdict:
    """Strict reading is the judgement; it raises the sentence."""
    from icd_assets.selector.v2_file import read_v2

    checkpoint = read_v2(experiment.files("v2_checkpoint")[0])
    return Verdict({"tensors": len(checkpoint.state), "encoder_tensors": len(checkpoint.towers)})


def rce_checkpoints(experiment: Experiment) -> Verdict:
    return _epochs(experiment, "rce_checkpoints")


def grpo_checkpoints(experiment: Experiment) -> Verdict:
    return _epochs(experiment, "grpo_checkpoints")


def _epochs(experiment: Experiment, asset: str) -> Verdict:
    from icd_assets.selector.v3_file import read_v3

    files = [path for path in experiment.files(asset) if path.is_file()]  # the others were pruned
    tensors = {path.name: len(read_v3(path).model_state_dict) for path in files}
    measured = {"epochs": len(files), "tensors": max(tensors.values(), default=0)}
    if len(set(tensors.values())) <= 1:
        return Verdict(measured)
    shown = ", ".join(f"{name} {count}" for name, count in tensors.items())
    return Verdict(
        measured, f"its epochs hold different numbers of tensors ({shown}); make it again with --force {asset}"
    )


def v2format_checkpoint(experiment: Experiment) -> Verdict:
    """Both read from disk, on random queries: the largest difference of their logits must be zero."""
    import torch

    from icd_assets.runtime.seeding import torch_rng
    from icd_assets.selector.v2_file import read_v2
    from icd_assets.selector.v3_file import load_policy

    converted = experiment.files("v2format_checkpoint")[0]
    one = load_policy(read_v2(converted).state, converted)
    source, other = _converted_from(experiment)
    rng = torch_rng(experiment.settings.shared.seed, "check", "v2format")
    width = one.config.embedding_dim
    query = torch.randn(4, width, generator=rng)
    pool = torch.randn(4, experiment.settings.shared.pool_size, width, generator=rng)
    pointers = torch.tensor([[[1, 0], [0, 1]]]).expand(4, -1, -1)
    with torch.no_grad():
        difference = (one(query, pool, pointers) - other(query, pool, pointers)).abs().max().item()
    measured = {"largest_difference": difference, "source": source.name}
    if difference == 0.0:
        return Verdict(measured)
    return Verdict(
        measured,
        f"it computes other logits than {source.name} (by up to {difference:.3g}); make it again with --force "
        "v2format_checkpoint",
    )


def _converted_from(experiment: Experiment) -> tuple[Path, PointerSelector]:
    from icd_assets.selector.selector_file import read_selector
    from icd_assets.selector.v3_file import load_policy, read_v3

    facts = experiment.facts("v2format_checkpoint")
    if (asset := facts["source"]) in STAGES:
        folder = experiment.files(asset)[0].parent
        return folder, read_selector(folder).policy
    epochs = experiment.files(f"{facts['phase']}_checkpoints")  # not beside it where its place was taken
    source = next(path for path in epochs if path.name == asset)
    return source, load_policy(read_v3(source).model_state_dict, source)


JUDGES: dict[str, Judge] = {
    "single_labels": single_labels,
    "singles_selector": singles_selector,
    "step_labels": step_labels,
    "sequence_selector": sequence_selector,
    "rl_selector": rl_selector,
    "rl_data": rl_data,
    "v2_checkpoint": v2_checkpoint,
    "rce_checkpoints": rce_checkpoints,
    "grpo_checkpoints": grpo_checkpoints,
    "v2format_checkpoint": v2format_checkpoint,
}


def judge(experiment: Experiment, asset: str) -> Verdict:
    """The verdict on an artifact that is there."""
    try:
        return JUDGES[asset](experiment)
    except UserError as error:
        return Verdict({"problem": str(error)}, str(error).rstrip("."))


def failed(asset: str, verdict: Verdict) -> str:
    """The sentence that a run ends with."""
    return f"{asset} is made, but nothing can be built on it: {verdict.reason}."


def judged(look: Look) -> Iterator[Finding]:
    """What is there already, and what the plan builds on."""
    experiment, coming = look.experiment, set(look.plan.to_make)
    parents = {parent for item in look.plan.steps if item.step.name in coming for parent in item.step.parents}
    for item in look.plan.steps:
        asset, manifest = item.step.name, experiment.manifest(item.step.name)
        if asset not in parents & JUDGES.keys() or asset in coming or manifest is None:
            continue
        key = ["judged", 1, asset, manifest.data_version]
        if asset == "rl_data":
            key.append(experiment.reward.model_dump(mode="json"))
        yield from look.scans.findings(key, partial(_finding, experiment, asset))


def _finding(experiment: Experiment, asset: str) -> Iterator[Finding]:
    verdict = judge(experiment, asset)
    if verdict.reason is None:
        yield Finding(asset, "ok", "there already, and fit to build on")
    else:
        yield Finding(asset, "problem", failed(asset, verdict))
