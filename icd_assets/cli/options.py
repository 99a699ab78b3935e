"""Flags of the command line, generated from the settings: one per environment variable, and ``--set``."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import click

from icd_assets.errors import UserError
from icd_assets.experiment.settings import PRESETS, environment_fields, other_spellings, read_settings
from icd_assets.experiment.steps import sections


def setting_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--preset``, ``--set`` and one flag per environment variable to a command.

    The command receives ``settings``, read from all of them and the environment.
    """
    variables = environment_fields()

    def gathered(preset: str | None, assignments: tuple[str, ...], **given: Any) -> Any:
        flags = {name: given.pop(name.lower()) for name in variables}
        given_flags = {name: str(value) for name, value in flags.items() if value is not None}
        beaten = {other for name in given_flags for other in other_spellings(name)} - given_flags.keys()
        environment = {name: text for name, text in os.environ.items() if name not in beaten} | given_flags
        settings = read_settings(preset, environment, dict(map(_assignment, assignments)))
        return command(settings=settings, **given)

    wrapped: Any = gathered
    for variable, places in reversed(variables.items()):
        section, field = places[0]
        info = sections()[section].model_fields[field]
        names = [f"--{variable.lower().replace('_', '-')}", f"--{variable.lower()}"]
        text = f"{info.description} [{variable}; default: {_shown(info.default)}]"
        if info.annotation is bool:
            dashed = names[0].removeprefix("--")
            declarations = [f"--{dashed}/--no-{dashed}", f"--{variable.lower()}"]
            option = click.option(*declarations, variable.lower(), default=None, help=text)
        else:
            option = click.option(*names, variable.lower(), metavar="VALUE", default=None, help=text)
        wrapped = option(wrapped)
    wrapped = click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="ASSET.FIELD=VALUE",
        help="Any other setting, e.g. --set rl_data.num_beams=8; the asset's page in the UI lists them.",
    )(wrapped)
    wrapped = click.option(
        "--preset",
        type=click.Choice(list(PRESETS)),
        help="A named recipe; flags and variables win over it.",
    )(wrapped)
    wrapped.__doc__ = command.__doc__
    wrapped.__name__ = command.__name__
    # options that the command declared itself come first
    wrapped.__click_params__ = [*wrapped.__click_params__, *getattr(command, "__click_params__", [])]
    return wrapped  # type: ignore[no-any-return]


def _assignment(text: str) -> tuple[tuple[str, str], str]:
    """``asset.field=value`` → ((asset, field), value)"""
    place, equals, value = text.partition("=")
    section, dot, field = place.partition(".")
    if not (equals and dot):
        raise UserError(f"--set {text}: write --set asset.field=value.")
    return (section, field), value


def _shown(default: Any) -> str:
    if default is None:
        return "unset"
    return str(default).lower() if isinstance(default, bool) else str(default)
