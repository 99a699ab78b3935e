"""Jobs and checks."""

from __future__ import annotations

from icd_assets.automation.checks import CHECKS
from icd_assets.automation.jobs import JOBS

__all__ = ["CHECKS", "JOBS"]
