"""The world of manifests, for Dagster to write into, and a Dagster that keeps nothing."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pytest

from icd_assets_tests.worlds.commands import world

__all__ = ["world"]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found
