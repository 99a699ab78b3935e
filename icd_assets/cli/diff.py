"""``icd-assets diff``: why two checkpoints, or any two artifacts, differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from icd_assets.cli.cell_arguments import GpuCommand
from icd_assets.cli.cells import split_cells
from icd_assets.cli.json_output import json_option, print_json
from icd_assets.cli.options import setting_options
from icd_assets.cli.screen import console
from icd_assets.cli.session import Session
from icd_assets.cli.tree import shown
from icd_assets.errors import UserError
from icd_assets.experiment.settings import Settings
from icd_assets.lineage import Records, Target, find
from icd_assets.lineage.differences import Difference, differences
from icd_assets.lineage.target import RUN_ID
from icd_assets.runtime.foreign import printable

SCHEMA = 2  # 1 was called diff_schema


@click.command(
    cls=GpuCommand,
    short_help="Why two artifacts differ.",
    examples=(
        "icd-assets diff rce_epoch5.pt copies/rce_epoch5.pt",
        "icd-assets diff 'demo|RandSampler/tiny_vl' 'demo|MixSampler/tiny_vl'",
    ),
)
@click.argument("words", nargs=-1, required=True, metavar="A B")
@setting_options
@click.option("--asset", help="Compare this asset of two cells or runs; default: the recommended checkpoint.")
@json_option
def diff(words: tuple[str, ...], settings: Settings, asset: str | None, as_json: bool) -> None:
    """Why A and B differ: config, seed, code, environment, or data, and then why the data differ.

    A and B are files (wherever they lie), run ids, or cells: keys such as 'demo|RandSampler/tiny_vl', or three or
    six words each.
    """
    named = [[str(Path(word).absolute()) for word in one] if _is_file(one) else one for one in _two(words)]
    session = Session.here(settings, home=not all(map(_is_file, named)))
    records = Records(session.store)
    one, other = (_target(part, asset, records, session) for part in named)
    found = differences(one.chain, other.chain)
    same = _same_bytes(one, other, session)
    if as_json:
        print_json(SCHEMA, _document(one, other, same, found))
        return
    for side, target in (("A", one), ("B", other)):
        console.print(Text(printable(f"{side}  {_named(target)}")))
        if target.problem is not None:
            console.print(Text(printable(f"   {target.problem}"), "bold red"))
    if same:
        console.print("\nthe same content")
        return
    if not found and (one.problem or other.problem):
        console.print("\nthe same artifact, by what was recorded when it was made; the bytes are others now")
        return
    if not found:
        console.print("\ntwo files of the same artifact: made together, from the same inputs and settings")
        return
    table = Table("why", "where", "what", "A", "B", box=None, pad_edge=False, header_style="bold")
    for difference in found:
        where = " ← ".join(difference.path)
        values = (shown(difference.a), shown(difference.b))
        table.add_row(*(Text(printable(text)) for text in (difference.kind, where, difference.field, *values)))
    console.print()
    console.print(table)


def _two(words: Sequence[str]) -> list[list[str]]:
    """The words of A and of B: a file, a run id and a key are one word."""
    found, rest = list[list[str]](), list(words)
    while rest:
        single = Path(rest[0]).is_file() or RUN_ID.fullmatch(rest[0])
        cell = [] if single else split_cells(rest, first_only=True)
        count = len(cell[0]) if cell else 1
        found.append(rest[:count])
        rest = rest[count:]
    if len(found) != 2:
        raise UserError(f"{' '.join(words)!r} is not two of files, run ids and cells; name A and B.")
    return found


def _is_file(words: Sequence[str]) -> bool:
    return len(words) == 1 and Path(words[0]).is_file()


def _target(words: list[str], asset: str | None, records: Records, session: Session) -> Target:
    is_cell = not _is_file(words) and (len(words) > 1 or "|" in words[0])
    found = find([asset, *words] if asset and is_cell else words, records, session.cell, session.open)
    if asset and not _is_file(words):
        found = [target for target in found if target.chain.asset == asset]
    if not found:
        raise UserError(f"{' '.join(words)} made no {asset}; name another asset with --asset.")
    return found[0]


def _same_bytes(one: Target, other: Target, session: Session) -> bool:
    if one.file is not None and other.file is not None:
        return session.store.digests.file(one.file) == session.store.digests.file(other.file)
    return one.chain.data_version is not None and one.chain.data_version == other.chain.data_version


def _named(target: Target) -> str:
    node = target.chain
    parts = [node.name, node.data_version, node.manifest.cell if node.manifest else None, node.run_id]
    return "  ".join(str(part) for part in [target.file, *parts] if part is not None)


def _document(one: Target, other: Target, same: bool, found: list[Difference]) -> dict[str, Any]:
    def side(target: Target) -> dict[str, Any]:
        file = str(target.file) if target.file else None
        return {"artifact": target.chain.key, "file": file, "problem": target.problem}

    return {
        "a": side(one),
        "b": side(other),
        "same_content": same,
        "same_artifact": one.chain.key == other.chain.key,
        "differences": [] if same else [asdict(difference) for difference in found],
    }
