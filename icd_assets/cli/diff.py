"""``icd-assets diff``: why two checkpoints, or any two artifacts, differ."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from icd_assets.cli.help import Command
from icd_assets.cli.screen import console
from icd_assets.cli.session import Session
from icd_assets.cli.tree import printable, shown
from icd_assets.errors import UserError
from icd_assets.lineage import Records, Target, find
from icd_assets.lineage.differences import Difference, differences


@click.command(
    cls=Command,
    short_help="Why two artifacts differ.",
    examples=(
        "icd-assets diff rce_epoch5.pt copies/rce_epoch5.pt",
        "icd-assets diff 'demo|RandSampler/tiny_vl' 'demo|MixSampler/tiny_vl'",
    ),
)
@click.argument("a")
@click.argument("b")
@click.option("--asset", help="Compare this asset of two cells or runs; default: the recommended checkpoint.")
@click.option("--json", "as_json", is_flag=True, help="The differences as one JSON document.")
def diff(a: str, b: str, asset: str | None, as_json: bool) -> None:
    """Why A and B differ: config, seed, code, environment, or data, and then why the data differ.

    A and B are files (wherever they lie), run ids, or cells such as 'demo|RandSampler/tiny_vl'.
    """
    words = [str(Path(word).absolute()) if Path(word).is_file() else word for word in (a, b)]
    session = Session.here(home=not all(Path(word).is_file() for word in words))
    records = Records(session.store)
    one, other = (_target(word, asset, records, session) for word in words)
    found = differences(one.chain, other.chain)
    same = _same_bytes(one, other, session)
    if as_json:
        click.echo(json.dumps(_document(one, other, same, found), indent=1))
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


def _target(word: str, asset: str | None, records: Records, session: Session) -> Target:
    is_file = Path(word).is_file()
    found = find(
        [asset, word] if asset and "|" in word and not is_file else [word], records, session.cell, session.open
    )
    if asset and not is_file:
        found = [target for target in found if target.chain.asset == asset]
    if not found:
        raise UserError(f"{word} made no {asset}; name another asset with --asset.")
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
        "diff_schema": 1,
        "a": side(one),
        "b": side(other),
        "same_content": same,
        "same_artifact": one.chain.key == other.chain.key,
        "differences": [] if same else [asdict(difference) for difference in found],
    }
