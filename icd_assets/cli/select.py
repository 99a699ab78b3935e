"""``icd-assets select``: the demonstrations that a cell's trained selector chooses for a question of one's own."""

from __future__ import annotations

from pathlib import Path

import click
from rich.table import Table

from icd_assets.cli.cell_arguments import GpuCommand
from icd_assets.cli.json_output import json_option, print_json
from icd_assets.cli.options import setting_options
from icd_assets.cli.place import Place
from icd_assets.cli.screen import console
from icd_assets.cli.session import Session
from icd_assets.cli.summary import path_shown
from icd_assets.experiment.settings import Settings
from icd_assets.runtime.foreign import printable

SCHEMA = 1


@click.command(
    cls=GpuCommand,
    short_help="Demonstrations for a question of your own.",
    examples=(
        'icd-assets select cat.jpg "What does it eat?"            # by the demo\'s',
        'icd-assets select cat.jpg "What does it eat?" okvqa rand_sampler qwen2.5_vl_3B',
        'icd-assets select cat.jpg "What does it eat?" --shots 4 --json',
    ),
)
@click.argument("image", type=Place())
@click.argument("question")
@click.argument("cell", nargs=-1, metavar="[CELL]")
@click.option("--shots", type=click.IntRange(min=1), default=2, help="Demonstrations to choose. [default: 2]")
@setting_options
@json_option
def select(
    image: Path, question: str, cell: tuple[str, ...], shots: int, settings: Settings, as_json: bool
) -> None:
    """Choose demonstrations for QUESTION about the picture IMAGE from the whole train split of CELL.

    The selector is the last that the cell's recipe trained. It looks at a random pool of the split, as in
    training, and chooses among that pool and the rows nearest to the question. With --json come the chat messages
    of the whole prompt, worded for the cell's model, as an OpenAI client takes them.
    """
    from icd_assets.use.cell_selector import of_cell
    from icd_assets.use.chat import chat
    from icd_assets.vlm.images import read_image
    from icd_assets.vlm.prompts import Shot

    session = Session.here(settings)
    experiment = session.open(session.cell_or_demo(cell))
    read_image(image)  # a picture that cannot be read is named before a model is opened
    query, trained = Shot(image, question, ""), of_cell(experiment)
    rows = trained.library.select(query, shots)
    shown = [experiment.data.train[row] for row in rows]
    if as_json:
        messages = chat(query, shown, style=experiment.model.prompt, form="openai")
        demonstrations = [
            {"row": row, "image": str(one.image), "question": one.question, "answer": one.answer}
            for row, one in zip(rows, shown, strict=True)
        ]
        found = {"cell": str(experiment.cell), "selector": trained.name, "demonstrations": demonstrations}
        print_json(SCHEMA, found | {"messages": messages})
        return
    console.print(f"chosen by {trained.name} of {experiment.cell}, in prompt order:")
    table = Table("row", "question", "answer", "picture", box=None, pad_edge=False)
    for row, one in zip(rows, shown, strict=True):
        table.add_row(str(row), printable(one.question), printable(one.answer), path_shown(one.image))
    console.print(table)
