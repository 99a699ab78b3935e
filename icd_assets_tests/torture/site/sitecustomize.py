"""Python runs this at start where this folder is on PYTHONPATH: so the fault reaches what Dagster starts."""

import os

if "ICD_TORTURE" in os.environ:
    from icd_assets_tests.torture.faults import arm_from_environment

    arm_from_environment()
