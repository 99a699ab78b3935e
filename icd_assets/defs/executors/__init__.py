"""Where the steps of a run are executed: one process, several, a Ray cluster or Kubernetes."""

from __future__ import annotations

from icd_assets.defs.executors.choice import EXECUTORS, executor

__all__ = ["EXECUTORS", "executor"]
