"""Jobs, checks, schedules and sensors."""

from __future__ import annotations

from icd_assets.defs.automation.checks import CHECKS
from icd_assets.defs.automation.jobs import JOBS
from icd_assets.defs.automation.schedules import SCHEDULES
from icd_assets.defs.automation.sensors import SENSORS

__all__ = ["CHECKS", "JOBS", "SCHEDULES", "SENSORS"]
