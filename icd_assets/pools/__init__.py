"""Candidate pools: which demonstrations a query may choose from."""

from icd_assets.pools.config import SAMPLERS, PoolConfig, needs_features

__all__ = ["SAMPLERS", "PoolConfig", "needs_features"]
