"""``icd-assets gpus``: how many GPU steps may run at once, shown and set."""

from __future__ import annotations

import click

from icd_assets.cli.echo import echo
from icd_assets.cli.help import Command


@click.command(
    cls=Command,
    short_help="Show or set how many GPU steps run at once.",
    examples=("icd-assets gpus", "icd-assets gpus 2"),
)
@click.argument("count", type=click.IntRange(min=1, max=1000), required=False, metavar="[COUNT]")
def gpus(count: int | None) -> None:
    """Show how many GPU steps may run at once; with COUNT, set it.

    Each step uses one GPU, so COUNT is the number of GPUs that runs may use. It holds for the command line and the
    UI together, from the next step on; a step at work is not ended.
    """
    from icd_assets.defs.runs.instance import open_instance
    from icd_assets.defs.runs.pool_wait import GPU_POOL, holders
    from icd_assets.runtime.device import visible_gpus

    with open_instance() as opened:
        if count is not None:
            opened.event_log_storage.set_concurrency_slots(GPU_POOL, count)
        limit = opened.event_log_storage.get_concurrency_info(GPU_POOL).limit
        if limit is None:  # dagster.yaml's is written there when the pool is first used
            limit = opened.global_op_concurrency_default_limit
        busy = holders(opened)
    seen = len(visible_gpus())
    echo(f"GPU steps at once: {limit if limit is not None else 'any number; set one: icd-assets gpus 1'}")
    echo(f"GPUs of this machine: {seen}")
    for holder in busy:
        echo(f"at work: {holder}")
