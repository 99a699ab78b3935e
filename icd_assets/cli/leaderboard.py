"""``icd-assets leaderboard``: every evaluation under the results root, best first."""

from __future__ import annotations

from pathlib import Path

import click
from rich.table import Table

from icd_assets.cli.echo import echo
from icd_assets.cli.help import Command
from icd_assets.cli.json_output import json_option, print_json
from icd_assets.cli.place import Place
from icd_assets.cli.screen import console
from icd_assets.cli.session import Session
from icd_assets.cli.summary import path_shown
from icd_assets.errors import UserError
from icd_assets.runtime.foreign import printable
from icd_assets.store.atomic import write_atomic

SCHEMA = 1


@click.command(
    cls=Command,
    short_help="Every evaluation, best first.",
    examples=(
        "icd-assets leaderboard",
        "icd-assets leaderboard --html boards.html",
        "icd-assets leaderboard --json",
    ),
)
@click.option("--html", type=Place(dir_okay=False), help="Write a page.")
@click.option("--markdown", is_flag=True, help="Print Markdown.")
@json_option
def leaderboard(html: Path | None, markdown: bool, as_json: bool) -> None:
    """What every cell and experiment recommends, best first, with 95 % intervals.

    Evaluations on the same questions stand in one table; several seeds of one are averaged. Each is compared with
    the first, question by question, and the smallest difference that would show stands beside it.
    """
    from icd_assets.report.leaderboard import leaderboard as of_store

    session = Session.here()
    boards, problems = of_store(session.store)
    for problem in problems:
        echo(f"icd-assets: {problem}", err=True)
    if not boards:
        raise UserError(
            f"nothing is evaluated under {session.store.root}; run icd-assets train, or name RESULT_DIR."
        )
    if html is not None:
        from icd_assets.report.leaderboard_page import render

        write_atomic(html, render(boards).encode())
    if as_json:
        print_json(SCHEMA, {"boards": [board.as_json() for board in boards], "problems": problems})
    elif markdown:
        echo("\n".join(board.markdown() for board in boards), nl=False)
    else:
        for board in boards:
            header, lines = board.table()
            table = Table(*header, box=None, pad_edge=False)
            for line in lines:
                table.add_row(*map(printable, line))
            console.print(printable(board.title), style="bold")
            console.print(table)
            console.print()
    if html is not None:
        echo(f"page: {path_shown(html)}", err=as_json or markdown)
