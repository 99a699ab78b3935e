"""The assets, in the order of the pipeline: one file each, and no mathematics."""

from __future__ import annotations

from icd_assets.defs.assets.beam_data import beam_data
from icd_assets.defs.assets.candidate_pools import candidate_pools
from icd_assets.defs.assets.embeddings import embeddings
from icd_assets.defs.assets.evaluation import evaluation
from icd_assets.defs.assets.grpo_checkpoints import grpo_checkpoints
from icd_assets.defs.assets.leaderboard import leaderboard
from icd_assets.defs.assets.rce_checkpoints import rce_checkpoints
from icd_assets.defs.assets.rl_data import rl_data
from icd_assets.defs.assets.step import RewardResource, SharedResource, partitions
from icd_assets.defs.assets.v2_checkpoint import v2_checkpoint
from icd_assets.defs.assets.v2format_checkpoint import v2format_checkpoint

ASSETS = [
    candidate_pools,
    beam_data,
    v2_checkpoint,
    embeddings,
    rl_data,
    rce_checkpoints,
    grpo_checkpoints,
    v2format_checkpoint,
    evaluation,
    leaderboard,
]

__all__ = ["ASSETS", "RewardResource", "SharedResource", "partitions"]
