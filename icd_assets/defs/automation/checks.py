"""Blocking checks: bad RL data or a bad checkpoint stops the run before it costs a GPU more."""

# No postponed annotations here: Dagster reads the types of a check's parameters as they are.
import warnings
from collections.abc import Callable
from typing import Any

import dagster as dg

from icd_assets.defs.assets.partitions import partitions
from icd_assets.defs.assets.resources import RewardResource, SharedResource, open_experiment
from icd_assets.defs.runs.dagster_private import PreviewWarning
from icd_assets.errors import UserError
from icd_assets.experiment.experiment import Experiment

# Checks per partition are a preview in this Dagster, and the one way to keep each cell's result.
warnings.filterwarnings("ignore", category=PreviewWarning)

# passed, what was measured
Verdict = tuple[bool, dict[str, Any]]


def _check(asset: str, name: str, description: str) -> Callable[[Callable[[Experiment], Verdict]], Any]:
    """A blocking check of one asset, per partition; ``(Experiment) -> (passed, measured)``."""

    def wrap(judge: Callable[[Experiment], Verdict]) -> Any:
        @dg.asset_check(asset=asset, name=name, description=description, blocking=True, partitions_def=partitions)
        def check(
            context: dg.AssetCheckExecutionContext, shared: SharedResource, reward: RewardResource
        ) -> dg.AssetCheckResult:
            experiment = open_experiment(context.partition_key, shared, reward)
            if asset == "grpo_checkpoints" and experiment.manifest(asset) is None:
                return dg.AssetCheckResult(passed=True, metadata={"note": "there are no GRPO epochs to check"})
            try:
                passed, measured = judge(experiment)
            except UserError as error:
                passed, measured = False, {"problem": str(error)}
            return dg.AssetCheckResult(passed=passed, metadata=measured, severity=dg.AssetCheckSeverity.ERROR)

        return check

    return wrap


@_check("rl_data", "rows_rewards_signal", "Every query has pointers, rewards are in range, and some teach.")
def rl_data_check(experiment: Experiment) -> Verdict:
    """Re-reads the file: schema, ranges and uniqueness are the reader's; here the numbers."""
    from icd_assets.scoring.rewards import reward
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
    passed = summary.queries > 0 and summary.pointers > 0 and summary.share_with_reward_levels > 0
    return passed, measured


@_check("v2_checkpoint", "all_tensors_finite", "Every tensor is there, has its shape, and is finite.")
def v2_check(experiment: Experiment) -> Verdict:
    """Strict reading is the check; it raises the sentence that the UI shows."""
    from icd_assets.selector.v2_file import read_v2

    checkpoint = read_v2(experiment.files("v2_checkpoint")[0])
    return True, {"tensors": len(checkpoint.state), "encoder_tensors": len(checkpoint.towers)}


def _epochs(experiment: Experiment, asset: str) -> Verdict:
    from icd_assets.selector.v3_file import read_v3

    files = [path for path in experiment.files(asset) if path.is_file()]  # the others were pruned
    counts = {len(read_v3(path).model_state_dict) for path in files}
    return len(counts) == 1, {"epochs": len(files), "tensors": max(counts)}


@_check("rce_checkpoints", "all_tensors_finite", "Every epoch's tensors are there, fit, and are finite.")
def rce_check(experiment: Experiment) -> Verdict:
    return _epochs(experiment, "rce_checkpoints")


@_check("grpo_checkpoints", "all_tensors_finite", "Every epoch's tensors are there, fit, and are finite.")
def grpo_check(experiment: Experiment) -> Verdict:
    return _epochs(experiment, "grpo_checkpoints")


@_check("v2format_checkpoint", "forward_equality", "The converted selector computes what its source computes.")
def v2format_check(experiment: Experiment) -> Verdict:
    """Both read from disk, on random queries: the largest difference of their logits must be zero."""
    import torch

    from icd_assets.runtime.seeding import torch_rng
    from icd_assets.selector.v2_file import read_v2
    from icd_assets.selector.v3_file import load_policy, read_v3

    converted = experiment.files("v2format_checkpoint")[0]
    facts = experiment.facts("v2format_checkpoint")
    source = converted.with_name(facts["source"])
    one = load_policy(read_v2(converted).state, converted)
    other = load_policy(read_v3(source).model_state_dict, source)
    rng = torch_rng(experiment.settings.shared.seed, "check", "v2format")
    width = one.config.embedding_dim
    query = torch.randn(4, width, generator=rng)
    pool = torch.randn(4, experiment.settings.shared.pool_size, width, generator=rng)
    pointers = torch.tensor([[[1, 0], [0, 1]]]).expand(4, -1, -1)
    with torch.no_grad():
        difference = (one(query, pool, pointers) - other(query, pool, pointers)).abs().max().item()
    return difference == 0.0, {"largest_difference": difference, "source": facts["source"]}


CHECKS = [rl_data_check, v2_check, rce_check, grpo_check, v2format_check]
