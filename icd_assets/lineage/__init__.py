"""What came from what: the chain behind an artifact, exact even after parts of it were made again."""

from __future__ import annotations

from icd_assets.lineage.chain import Artifact, State
from icd_assets.lineage.records import Records
from icd_assets.lineage.target import Target, find

__all__ = ["Artifact", "Records", "State", "Target", "find"]
