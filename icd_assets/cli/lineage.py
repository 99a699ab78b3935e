"""``icd-assets lineage``: what a checkpoint, any artifact or any file came from."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from icd_assets.cli.cell_arguments import GpuCommand
from icd_assets.cli.echo import echo
from icd_assets.cli.json_output import json_option, print_json
from icd_assets.cli.options import setting_options
from icd_assets.cli.screen import console
from icd_assets.cli.session import Session
from icd_assets.cli.tree import tree
from icd_assets.experiment.settings import Settings
from icd_assets.lineage import Records, find
from icd_assets.lineage.as_json import LINEAGE_SCHEMA
from icd_assets.lineage.as_json import as_json as document_of
from icd_assets.lineage.in_toto import statements
from icd_assets.lineage.openlineage import events
from icd_assets.lineage.published import published_beside
from icd_assets.lineage.rehash import Rehashed, rehash
from icd_assets.lineage.rows import TrainedRow, trained_rows
from icd_assets.lineage.there import under
from icd_assets.runtime.foreign import printable


@click.command(
    cls=GpuCommand,
    short_help="What a checkpoint, or any artifact, came from.",
    examples=(
        "icd-assets lineage demo rand_sampler tiny_vl",
        "icd-assets lineage rl_data demo rand_sampler tiny_vl --verify",
        "icd-assets lineage rce_epoch5.pt --rows",
    ),
)
@click.argument("what", nargs=-1, required=True)
@setting_options
@json_option
@click.option("--verify", is_flag=True, help="Read every file on the way again; exit code 2 if one differs.")
@click.option("--rows", is_flag=True, help="Also name the RL rows that the checkpoint was trained on.")
@click.option(
    "--export",
    type=click.Choice(["in-toto", "openlineage"]),
    help="The chain as in-toto statements (SLSA provenance) or OpenLineage events, one JSON per line.",
)
def lineage(
    what: tuple[str, ...], settings: Settings, as_json: bool, verify: bool, rows: bool, export: str | None
) -> None:
    """What WHAT came from: down to dataset, models, prompts and seeds, with the runs that made each part.

    WHAT is a file (wherever it lies), a run id, or a cell (its key, or its three or six words), alone for its
    recommended checkpoint, or with an asset for that one: of the reward, name and numbers that the settings mean.
    Those of others that are there are named, with the flags that mean them. Of a file that was downloaded with
    its lineage.json, the chain is the one that stands there.
    """
    words = [str(Path(word).absolute()) if Path(word).is_file() else word for word in what]
    session = Session.here(settings, rehash=verify, home=not (len(words) == 1 and Path(words[0]).is_file()))
    records = Records(session.store, published_beside(Path(words[0])) if len(words) == 1 else ())
    targets = find(words, records, session.cell, session.open)
    whole = [target for number, target in enumerate(targets) if number == 0 or not target.flags]
    verified = Rehashed() if verify else None
    if verified is not None:
        for target in whole:
            verified.add(rehash(target.chain, session.store, session.open))
            verified.differs += [target.problem] if target.problem else []
    trained = trained_rows(targets[0].chain, session.store) if rows else None
    if export is not None:
        documents = statements if export == "in-toto" else events
        for document in documents(targets[0].chain):
            echo(json.dumps(document))
    elif as_json:
        print_json(LINEAGE_SCHEMA, document_of(targets, session.store, verified, trained))
    else:
        for target in whole:
            if target.flags:
                console.print(printable(under(target.flags)), style="bold")
            console.print(tree(target))
        for target in targets:
            if target not in whole:
                made = target.chain.data_version or ""
                console.print(printable(f"also there: {target.chain.name} {made[:16]} {under(target.flags)}"))
        _show(verified, trained)
    for path, problem in records.broken.items():
        echo(f"icd-assets: passed over {path}: {problem}", err=True)
    if verified is not None and verified.differs:
        sys.exit(2)


def _show(verified: Rehashed | None, rows: list[TrainedRow] | None) -> None:
    if rows is not None:
        console.print(f"\ntrained on {len(rows)} RL rows: row (question_id)")
        shown = (f"{one.row} ({'unknown' if one.question_id is None else one.question_id})" for one in rows)
        console.print(", ".join(shown))
    if verified is not None:
        console.print(f"\nread again: {verified.files} files and inputs")
        for line in verified.unchecked:
            console.print(printable(f"not checked: {line}"))
        for line in verified.differs:
            console.print(printable(f"differs: {line}"), style="bold red")
        if not verified.differs and not verified.unchecked:
            console.print("all of it is what was recorded")
        elif not verified.differs:
            console.print(
                f"what could be read is what was recorded; {len(verified.unchecked)} could not be checked"
            )
