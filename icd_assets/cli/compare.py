"""``icd-assets compare``: two or more evaluations, checkpoints or files of answers on the same questions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from icd_assets.cli.cell_arguments import GpuCommand
from icd_assets.cli.compare_words import Named, all_paths, named_sides
from icd_assets.cli.echo import echo
from icd_assets.cli.json_output import json_option, print_json
from icd_assets.cli.options import setting_options
from icd_assets.cli.place import Place
from icd_assets.cli.screen import console
from icd_assets.cli.session import Session
from icd_assets.cli.summary import path_shown
from icd_assets.errors import UserError
from icd_assets.evaluation.verdict import footnotes
from icd_assets.experiment.cell import Cell
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.settings import Settings
from icd_assets.lineage import Records
from icd_assets.runtime.foreign import printable
from icd_assets.store.atomic import write_atomic

if TYPE_CHECKING:
    from icd_assets.report.compare_sides import Compared
    from icd_assets.report.sides import Side

SCHEMA = 1
_CAUSES = 12  # differences printed; all stand in --json and --html
_MOST = 26  # sides: each has a letter


@click.command(
    cls=GpuCommand,
    short_help="Evaluations, checkpoints, others' answers: who is better.",
    examples=(
        "icd-assets compare demo rand_sampler tiny_vl more       # of --name more",
        "icd-assets compare demo rand_sampler tiny_vl earlier:1  # the one before",
        "icd-assets compare okvqa rand_sampler tiny_vl theirs.json --html both.html",
        "icd-assets compare demo rand_sampler tiny_vl demo text_sim_sampler tiny_vl",
        "icd-assets compare rce_epoch5.pt grpo_epoch3.pt --json",
    ),
)
@click.argument("words", nargs=-1, required=True, metavar="A B [C…]")
@click.option("--strategy", multiple=True, help="Whose answers: one for all sides, or one for each.")
@click.option("--shots", type=click.IntRange(min=0), help="Demonstrations. [default: the main table's]")
@click.option("--common", is_flag=True, help="Compare on the questions that all sides have.")
@click.option("--anyway", is_flag=True, help="Compare although models or prompts differ.")
@click.option("--html", type=Place(dir_okay=False), help="Write a page with the questions.")
@click.option("--markdown", is_flag=True, help="Print Markdown.")
@setting_options
@json_option
def compare(
    words: tuple[str, ...],
    strategy: tuple[str, ...],
    shots: int | None,
    common: bool,
    anyway: bool,
    html: Path | None,
    markdown: bool,
    settings: Settings,
    as_json: bool,
) -> None:
    """Compare A with B, and with C and so on, question by question.

    Each is a cell (its key, or three or six words), with @NAME its experiment of that --name; after a cell NAME
    alone, or earlier:1, the evaluation that its own replaced; the folder of an evaluation; a checkpoint or
    selector that was evaluated; or a file of anybody's answers: Parquet, JSON, JSONL or CSV with question_id and
    answer or score. Differences are paired, with 95 % intervals and, of several sides, Holm's correction. Sides
    that answered other questions, or whose model was asked otherwise, are refused.
    """
    from icd_assets.report.compare_sides import compare_sides
    from icd_assets.report.sides import completed

    here = Path.cwd()  # before the way home
    session = Session.here(settings, home=not all_paths(words, here))
    named = list(named_sides(words, session, here))
    if not 2 <= len(named) <= _MOST:
        raise UserError(f"{' '.join(words)!r} names {len(named)} sides; name two or more, up to {_MOST}.")
    if len(strategy) not in (0, 1, len(named)):
        raise UserError(
            f"--strategy is given {len(strategy)} times for {len(named)} sides; give one, or one for each."
        )
    strategies = [*(strategy * len(named) if len(strategy) == 1 else strategy or [None] * len(named))]
    records = Records(session.store)
    sides = [_side(one, records, whose, shots) for one, whose in zip(named, strategies, strict=True)]
    experiments = (one.experiment for one in named)
    experiment = next((one for one in experiments if one is not None), None) or _recorded(sides, session)
    found = compare_sides(completed(sides, experiment), records, common=common, anyway=anyway)
    if html is not None:
        from icd_assets.report.compare_report import render

        write_atomic(here / html, render(found, experiment).encode())
    if as_json:
        print_json(SCHEMA, found.as_json())
    elif markdown:
        echo(found.markdown(), nl=False)
    else:
        _show(found)
    if html is not None:
        echo(f"page: {path_shown(here / html)}", err=as_json or markdown)


def _side(one: Named, records: Records, strategy: str | None, shots: int | None) -> Side:
    from icd_assets.report.sides import of_cell, of_earlier, of_path

    if one.path is not None:
        return of_path(one.path, records, strategy, shots)
    assert one.experiment is not None
    if one.replaced is not None:
        when = one.replaced.manifest.created_at
        return of_earlier(one.replaced, f"{one.experiment.cell}, replaced, of {when}", strategy, shots)
    return of_cell(one.experiment, strategy, shots)


def _recorded(sides: Sequence[Side], session: Session) -> Experiment | None:
    """The cell that a side's record names, if the catalog has it: its pictures are shown."""
    for side in sides:
        if side.manifest is not None:
            cell = Cell.parse(side.manifest.cell)
            if cell in session.catalog.cells:
                return session.open(cell)
    return None


def _show(found: Compared) -> None:
    for name, side in found.sides.items():
        shots = "" if side.shots is None else f", {side.shots} shots"
        console.print(printable(f"{name}{shots}: {side.source}"))
    for sentence in found.cautions:
        console.print(printable(sentence), style="bold")
    header, lines = found.table()
    table = Table(*header, "better on", "worse on", box=None, pad_edge=False)
    flips = {one.name: (f"{one.better:,}", f"{one.worse:,}") for one in found.flips}
    for line in lines:
        table.add_row(*map(printable, line), *flips.get(line[0], ("", "")))
    console.print()
    console.print(table)
    console.print(f"[…]: {found.comparison.intervals}; {found.comparison.queries}")
    for sentence in [*footnotes(found.comparison), *found.verdicts]:
        console.print(printable(sentence))
    for name, causes in found.causes.items():
        console.print(f"\nwhat differs of {printable(name)}:")
        if not causes:
            console.print("not known: no record of one of the two" if causes is None else "nothing else")
        for one in (causes or ())[:_CAUSES]:
            where = " ← ".join(one.path)
            console.print(printable(f"  {one.field}: {one.a} → {one.b}   ({one.kind}, {where})"))
        if causes and len(causes) > _CAUSES:
            console.print(f"  and {len(causes) - _CAUSES} more: --json or --html")
