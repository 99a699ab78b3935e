"""What opens, watches and repairs Dagster runs, nearly all of it because Dagster leaves a gap.

docs/dagster_gaps.md lists the gaps; an upgrade of Dagster has to look at
:mod:`~icd_assets.defs.runs.dagster_private`.
"""
