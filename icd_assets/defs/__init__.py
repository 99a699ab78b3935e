"""All that knows Dagster: assets, automation, and what holds its runs together."""
