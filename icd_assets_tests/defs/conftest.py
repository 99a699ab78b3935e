"""The world of manifests, for Dagster to write into."""

from icd_assets_tests.worlds.commands import world

__all__ = ["world"]
