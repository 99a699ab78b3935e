"""Candidate pools: which demonstrations a query may choose from."""

from icd_assets.pools.config import SAMPLERS, PoolConfig, Sampler

__all__ = ["SAMPLERS", "PoolConfig", "Sampler"]
