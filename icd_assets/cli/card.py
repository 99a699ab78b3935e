"""``icd-assets card``: the model card of a cell's selector."""

from __future__ import annotations

from pathlib import Path

import click

from icd_assets.cli.cell_arguments import GpuCommand
from icd_assets.cli.echo import echo
from icd_assets.cli.options import setting_options
from icd_assets.cli.place import Place
from icd_assets.cli.session import Session
from icd_assets.errors import UserError
from icd_assets.experiment.settings import Settings

license_option = click.option(
    "--license", metavar="ID", help="Licence of the selector, as the hub spells it: mit, apache-2.0, cc-by-4.0, …"
)


@click.command(
    cls=GpuCommand,
    short_help="The model card of a selector.",
    examples=(
        "icd-assets card                               # of the demo's",
        "icd-assets card okvqa rand_sampler qwen2.5_vl_3B --license mit",
        "icd-assets card demo rand_sampler tiny_vl --to README.md",
    ),
)
@click.argument("cell", nargs=-1, metavar="[CELL]")
@click.option("--to", type=Place(), metavar="FILE", help="Write it there instead of printing.")
@license_option
@setting_options
def card(cell: tuple[str, ...], to: Path | None, license: str | None, settings: Settings) -> None:
    """Print the card of the selector that CELL trained last: what it is, how well it does, how to load it, what it
    was made of.

    Numbers, command, settings and digests are those of the artifacts on disk. Without --license it says where one
    is to be filled in.
    """
    from icd_assets.share.card import card as card_of
    from icd_assets.share.license import require_license
    from icd_assets.share.trained import Trained

    require_license(license, "--license")
    session = Session.here(settings)
    text = card_of(Trained.of(session.open(session.cell_or_demo(cell))), license=license)
    if to is None:
        echo(text, nl=False)
        return
    try:
        with to.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UserError(f"{to} is there already, and nothing of yours is replaced; name a new file.") from None
    echo(str(to))
