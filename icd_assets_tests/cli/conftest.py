"""The world of manifests, and commands that run in it."""

from icd_assets_tests.worlds.commands import run, world

__all__ = ["run", "world"]
