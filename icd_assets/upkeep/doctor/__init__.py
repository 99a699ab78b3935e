"""What stands in the way of a run, looked for before it costs hours: one file per subject, no Dagster here.

Every check returns :class:`~icd_assets.runtime.finding.Finding`s and raises nothing a user could cause.
"""
