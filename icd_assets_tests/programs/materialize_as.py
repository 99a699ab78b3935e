"""Materializes four assets of the cell KEY as ``condition`` or ``somebody``; prints whether each was skipped."""

import sys

import dagster as dg

from icd_assets.definitions import defs

key, asker = sys.argv[1:]
tags = {"dagster/from_automation_condition": "true"} if asker == "condition" else {}
assets = [asset for asset in defs.assets or () if isinstance(asset, dg.AssetsDefinition)]
for name in ("rl_data", "rce_checkpoints", "grpo_checkpoints", "v2format_checkpoint"):
    ended = dg.materialize(
        assets,
        selection=[name],
        partition_key=key,
        instance=dg.DagsterInstance.ephemeral(),
        resources=defs.resources,
        tags=tags,
        raise_on_error=False,
    )
    made = ended.asset_materializations_for_node(name) if ended.success else []
    print(name, made[0].metadata["skipped"].value if made else "failed")
