"""What RCE and GRPO gain under other recipes: dropout and upstream's settings, or the queries of an update.

    python benchmarks/rce_recipe.py dropout --seeds 42 43 44
    python benchmarks/rce_recipe.py rce_batch --seeds 45 46 47    # to choose by
    python benchmarks/rce_recipe.py grpo_batch --seeds 45 46 47
    python benchmarks/rce_recipe.py chosen --seeds 50 51 52 53 54 # to report

For each seed the demo is made up to its RL data once (kept under ``--results``); each recipe then trains RCE from
the same v2 checkpoint, and GRPO, where it is compared, from RCE's last epoch. Prints the policy's expected reward
on held-out RL queries after the last epoch (``val_expected_reward``, at most 2): what recipes are chosen by, never
accuracy on the validation split. Beside it the difference to the first recipe of the same stages, paired by seed,
with its 95 % interval by Student's t, and the processor seconds of the last stage, all seeds together. With
``--draws 3`` a seed's reward is the mean over three trainings, with other orders and dropout, on the same data.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from paired_by_seed import difference

import icd_assets
from icd_assets.evaluation.tables import text_table
from icd_assets.experiment.experiment import Experiment
from icd_assets.scoring.groups import groups_of_rl_data
from icd_assets.scoring.rl_file import read_rl_data
from icd_assets.selector.config import LEVER_PLUS
from icd_assets.selector.embedding_file import read_embeddings
from icd_assets.selector.groups import PointerGroup
from icd_assets.selector.grpo import train_grpo
from icd_assets.selector.model import PointerSelector
from icd_assets.selector.rce import train_rce
from icd_assets.selector.v2_file import read_v2
from icd_assets.selector.v3_file import load_policy

GRPO_EPOCHS = 3
Settings = Mapping[str, Any]


class Recipe(NamedTuple):
    """Settings that differ from the defaults; ``grpo`` None: RCE alone."""

    rce: Settings
    grpo: Settings | None = None


def _rce(size: int, rate: float) -> Settings:
    return {"batch_size": size, "rce_lr": rate}


def _grpo(size: int, rate: float) -> Settings:
    return {"batch_size": size, "grpo_lr": rate}


_ONE = _rce(1, 1e-4), _grpo(1, 5e-6)  # a query an update, and upstream's rates
_UPSTREAM = LEVER_PLUS["RceConfig"]
RECIPES: dict[str, dict[str, Recipe]] = {
    "dropout": {
        "ours": Recipe({}),
        "ours, dropout 0.5": Recipe({"dropout": 0.5}),
        "lever_plus, dropout 0.1": Recipe({**_UPSTREAM, "dropout": 0.1}),
        "lever_plus": Recipe(_UPSTREAM),
    },
    "rce_batch": {
        f"batch {size}, rate {rate:g}": Recipe(_rce(size, rate))
        for size, rates in {1: [1e-4], 8: [3e-4, 8e-4], 16: [6e-4, 1e-3], 32: [6e-4, 1e-3, 2e-3, 3e-3]}.items()
        for rate in rates
    },
    "grpo_batch": {
        f"batch {size}, rate {rate:g}": Recipe({}, _grpo(size, rate))
        for size, rates in {1: [5e-6], 16: [5e-5, 1.5e-4], 32: [3e-5, 1e-4, 2e-4, 4e-4]}.items()
        for rate in rates
    },
    "chosen": {
        "RCE, batch 1": Recipe(_ONE[0]),
        "RCE, default": Recipe({}),
        "v2 checkpoint": Recipe({"rce_epochs": 1, "rce_lr": 1e-12}),
        "RCE and GRPO, batch 1": Recipe(*_ONE),
        "RCE default, GRPO batch 1": Recipe({}, _ONE[1]),
        "RCE and GRPO, default": Recipe({}, {}),
    },
}


class Start(NamedTuple):
    """What the recipes of a seed share."""

    experiment: Experiment
    groups: list[PointerGroup]
    sft: PointerSelector


def opened(seed: int, results: Path) -> Start:
    """The demo under this seed, made up to its RL data unless it was before."""
    settings = {"shared.recipe": "beams", "shared.seed": seed}
    experiment = icd_assets.open_cell("demo", "rand_sampler", "tiny_vl", settings, results=results)
    for asset in ("candidate_pools", "beam_data", "v2_checkpoint", "embeddings", "rl_data"):
        icd_assets.build(experiment, asset)
        print(f"seed {seed}: {asset}", file=sys.stderr, flush=True)
    rows = len(experiment.data.train)
    table = read_embeddings(experiment.files("embeddings")[0], rows=rows)
    data = read_rl_data(experiment.files("rl_data")[0], n_rows=rows)
    checkpoint = experiment.files("v2_checkpoint")[0]
    sft = load_policy(read_v2(checkpoint).state, checkpoint)
    return Start(experiment, groups_of_rl_data(data, experiment.reward, table), sft)


def after_rce(start: Start, settings: Settings) -> tuple[PointerSelector, float]:
    """The policy, and its expected reward."""
    config = start.experiment.config("rce_checkpoints")
    config = type(config)(**config.model_dump() | dict(settings))
    policy = copy.deepcopy(start.sft)
    history = train_rce(policy, start.groups, config, sft=start.sft)
    return policy.eval(), history[-1]["val_expected_reward"]


def after_grpo(start: Start, rce: PointerSelector, settings: Settings) -> float:
    config = start.experiment.config("grpo_checkpoints")
    config = type(config)(**config.model_dump() | {"grpo_epochs": GRPO_EPOCHS} | dict(settings))
    history = train_grpo(copy.deepcopy(rce), start.groups, config, sft=start.sft, rce=rce)
    return history[-1]["val_expected_reward"]


class Found(NamedTuple):
    rewards: list[float]  # one per seed
    seconds: list[float]


def compare(recipes: Mapping[str, Recipe], start: Start, seeds: Sequence[int], found: Mapping[str, Found]) -> None:
    """Add the mean reward of trainings with these ``seeds`` on the same data; equal RCE is trained once."""
    known: dict[str, tuple[PointerSelector, float]] = {}
    for name, recipe in recipes.items():
        rewards, seconds = [], 0.0
        for seed in seeds:
            began = time.process_time()
            settings = {**recipe.rce, "seed": seed}
            if (key := repr(settings)) not in known:
                known[key] = after_rce(start, settings)
            policy, reward = known[key]
            if recipe.grpo is not None:
                began = time.process_time()
                reward = after_grpo(start, policy, {**recipe.grpo, "seed": seed})
            rewards.append(reward)
            seconds += time.process_time() - began
        found[name].rewards.append(statistics.mean(rewards))
        found[name].seconds.append(seconds)
        print(f"{name}: {found[name].rewards[-1]:.4f}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", choices=RECIPES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 43, 44])
    parser.add_argument("--draws", type=int, default=1, help="trainings of each seed")
    parser.add_argument("--results", type=Path, help="folder of the demos, by default a temporary one")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    recipes = RECIPES[arguments.recipes]
    folder = arguments.results or Path(tempfile.mkdtemp(prefix="rce-recipe-"))
    found = {name: Found([], []) for name in recipes}
    for seed in arguments.seeds:
        of_draws = [seed + 1000 * draw for draw in range(arguments.draws)]
        compare(recipes, opened(seed, folder / f"seed{seed}"), of_draws, found)
    first: dict[bool, Sequence[float]] = {}
    for name, recipe in recipes.items():
        first.setdefault(recipe.grpo is None, found[name].rewards)
    lines = [
        [
            name,
            *(f"{value:.4f}" for value in own.rewards),
            f"{statistics.mean(own.rewards):.4f}",
            difference(own.rewards, first[recipes[name].grpo is None], 4),
            f"{sum(own.seconds):.0f}",
        ]
        for name, own in found.items()
    ]
    seeds = (f"seed {seed}" for seed in arguments.seeds)
    print(text_table(["recipe", *seeds, "mean", "difference", "CPU seconds"], lines))


if __name__ == "__main__":
    main()
