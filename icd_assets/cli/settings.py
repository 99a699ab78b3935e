"""``icd-assets settings``: every setting by all its names, what it may be, and what it is now, and why."""

from __future__ import annotations

import textwrap
from typing import Any, assert_never

import click

from icd_assets.cli.cells import FORMS, typed_dataset
from icd_assets.cli.echo import echo
from icd_assets.cli.help import Command
from icd_assets.cli.json_output import json_option, print_json
from icd_assets.cli.options import setting_options
from icd_assets.cli.screen import console
from icd_assets.cli.session import Session
from icd_assets.errors import UserError
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.open_cell import as_typed
from icd_assets.experiment.settings import Settings
from icd_assets.experiment.settings_origins import Current, GivenBy, current
from icd_assets.experiment.settings_table import in_words
from icd_assets.experiment.steps import sections
from icd_assets.experiment.suggest import did_you_mean

SCHEMA = 1
_WIDEST = 80


@click.command(
    name="settings",
    cls=Command,
    short_help="Every setting, its value now, and where that comes from.",
    examples=(
        "icd-assets settings                        # all of them",
        "icd-assets settings rce_checkpoints        # those of one asset",
        "icd-assets settings grpo_checkpoints demo rand_sampler tiny_vl",
        "icd-assets settings --preset lever_plus --json",
    ),
)
@click.argument("words", nargs=-1, metavar="[ASSET] [CELL]")
@setting_options(given=True)
@json_option
def settings(
    words: tuple[str, ...],
    settings: Settings,
    by: GivenBy,
    as_json: bool,
) -> None:
    """Every setting: its names, its value now and where that comes from, what it may be, what it does.

    With ASSET (or shared, reward) only its settings; with CELL also what the catalog sets for the dataset.
    """
    section = words[0] if words and words[0] in sections() else None
    cell = words[1:] if section is not None else words
    if len(cell) == 1 and "|" not in cell[0]:
        raise UserError(
            f"there is no asset {cell[0]!r}; valid: {', '.join(sections())}{did_you_mean(cell[0], sections())}"
        )
    experiment = _experiment(cell, settings) if cell else None
    found = [one for one in current(by, settings, experiment) if section in (None, one.setting.section)]
    if as_json:
        print_json(SCHEMA, _document(experiment, found))
        return
    for name in dict.fromkeys(one.setting.section for one in found):
        echo(name, bold=True)
        for one in found:
            if one.setting.section == name:
                _show(one)
        echo()
    if experiment is None:
        echo(_wrapped(f"The catalog may set some of them for a dataset; to see it, {FORMS}."))


def _experiment(words: tuple[str, ...], settings: Settings) -> Experiment:
    session = Session.here(as_typed(settings, typed_dataset(words)), home=False)
    return session.open(session.cell(words))


def _show(one: Current) -> None:
    setting = one.setting
    echo(f"{setting.name} = {in_words(one.value)}", fg="cyan", nl=False)
    echo(f"  ({_origin(one)})" if one.origin.source != "default" else "")
    names = f"{setting.flag}, {setting.variable}. " if setting.variable is not None else ""
    text = f"{setting.meaning} {names}{setting.allowed[0].upper()}{setting.allowed[1:]}."
    if setting.choices:
        text = f"{setting.meaning} {names}One of: {setting.allowed}."
    echo(_wrapped(text, "    "))


def _origin(one: Current) -> str:
    by = f" {one.origin.by}" if one.origin.by is not None else ""
    default = in_words(one.setting.default)
    match one.origin.source:
        case "flag" | "set" | "environment":
            text = f"from{by}"
        case ".env":
            text = f"from{by} in .env"
        case "preset" | "catalog":
            text = f"from the {one.origin.source}{by}"
        case "recipe":
            text = "follows from the others"
        case "default":
            return "the default"
        case _:
            assert_never(one.origin.source)
    return f"{text}; default {default}"


def _wrapped(text: str, indent: str = "") -> str:
    width = min(console.width, _WIDEST)
    return textwrap.fill(text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def _document(experiment: Experiment | None, found: list[Current]) -> dict[str, Any]:
    return {
        "cell": None if experiment is None else experiment.cell.key,
        "settings": [
            {
                "name": one.setting.name,
                "variable": one.setting.variable,
                "flag": one.setting.flag,
                "value": one.value,
                "from": one.origin.source,
                "by": one.origin.by,
                "default": one.setting.default,
                "choices": list(one.setting.choices) or None,
                "allowed": one.setting.allowed,
                "meaning": one.setting.meaning,
            }
            for one in found
        ],
    }
