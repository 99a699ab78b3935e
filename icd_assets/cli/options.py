"""Flags of the command line, generated from the settings: one per environment variable, and ``--set``."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import click

from icd_assets.cli.echo import echo
from icd_assets.cli.help import SectionOption
from icd_assets.errors import UserError
from icd_assets.experiment.misspelt_variables import misspelt
from icd_assets.experiment.settings import PRESETS, other_spellings, read_settings
from icd_assets.experiment.settings_origins import GivenBy
from icd_assets.experiment.settings_table import Setting, every_setting, in_words
from icd_assets.runtime import home

_SETTINGS = "Settings"
_FLAGS = "Flags of settings (RCE_EPOCHS=3 in the environment is --rce-epochs 3)"
_WIDTH = 39  # of a flag's line after its name, at 80 columns


def setting_options(
    command: Callable[..., Any] | None = None, *, listed: bool = False, given: bool = False
) -> Callable[..., Any]:
    """Add ``--preset``, ``--set`` and one flag per environment variable to a command.

    The command receives ``settings``, read from all of them and the environment, and with ``given`` also
    ``by``, all that they were read from. ``listed``: its help has a line for each flag.
    """

    def decorate(decorated: Callable[..., Any]) -> Callable[..., Any]:
        flags = _flags()

        def gathered(preset: str | None, assignments: tuple[str, ...], **rest: Any) -> Any:
            typed = {name: rest.pop(name.lower()) for name in flags}
            texts = {name: str(value) for name, value in typed.items() if value is not None}
            if texts.get("RUN_NAME") == "":
                raise UserError("--name is empty; give the experiment a name, or leave --name out.")
            note_misspelt()
            values = dict(map(_assignment, assignments))
            beaten = {other for name in texts for other in other_spellings(name)}
            environment = {name: text for name, text in os.environ.items() if name not in beaten} | texts
            settings = read_settings(preset, environment, values)
            more = {"by": GivenBy(preset, os.environ, texts, values, home.FROM_ENV_FILE)} if given else {}
            return decorated(settings=settings, **more, **rest)

        wrapped: Any = gathered
        for places in reversed(flags.values()):
            wrapped = _flag(places[0], listed)(wrapped)
        for option in reversed(_general(listed)):
            wrapped = option(wrapped)
        wrapped.__doc__ = decorated.__doc__
        wrapped.__name__ = decorated.__name__
        # options that the command declared itself come first
        wrapped.__click_params__ = [*wrapped.__click_params__, *getattr(decorated, "__click_params__", [])]
        return wrapped  # type: ignore[no-any-return]

    return decorate if command is None else decorate(command)


def note_misspelt() -> None:
    """One line for each environment variable that is nearly one of ours."""
    for sentence in misspelt(os.environ):
        echo(f"icd-assets: {sentence}", err=True)


def _flags() -> dict[str, list[Setting]]:
    """Variable → its settings: BATCH_SIZE is that of RCE and of GRPO."""
    found: dict[str, list[Setting]] = {}
    for setting in every_setting():
        if setting.variable is not None:
            found.setdefault(setting.variable, []).append(setting)
    return found


def _general(listed: bool) -> list[Callable[[Any], Any]]:
    more = "" if listed else "; so does train --help, whose flags are understood here too"
    return [
        click.option(
            "--preset",
            cls=SectionOption,
            section=_SETTINGS,
            metavar="NAME",
            help=f"A named recipe: {' or '.join(PRESETS)}. Flags and variables win over it.",
        ),
        click.option(
            "--set",
            "assignments",
            cls=SectionOption,
            section=_SETTINGS,
            multiple=True,
            metavar="ASSET.FIELD=VALUE",
            help=f"Any setting, e.g. --set rl_data.num_beams=8. The command settings lists all{more}.",
        ),
    ]


def _flag(setting: Setting, listed: bool) -> Callable[[Any], Any]:
    assert setting.variable is not None and setting.flag is not None
    name = setting.variable.lower()
    shared: dict[str, Any] = {
        "cls": SectionOption,
        "section": _FLAGS,
        "about": setting.section,
        "summary": _summary(setting),
        "default": None,
        "hidden": not listed,
    }
    if setting.kind == "FLAG":
        return click.option(f"{setting.flag}/--no-{setting.flag.removeprefix('--')}", name, **shared)
    return click.option(setting.flag, name, metavar=setting.kind, **shared)


def _summary(setting: Setting) -> str:
    """The meaning's beginning, as far as a line goes, and the default."""
    default = f" [{in_words(setting.default)}]"
    first = setting.meaning.split(". ")[0].rstrip(".")
    for end in ("; ", ": ", " (", ", or "):
        if len(first) + len(default) > _WIDTH:
            first = first.split(end)[0]
    words = first.split()
    while len(" ".join(words)) + len(default) > _WIDTH:
        words = [*words[:-2], words[-2].rstrip(".,…") + "…"]
    return " ".join(words) + default


def _assignment(text: str) -> tuple[tuple[str, str], str]:
    """``asset.field=value`` → ((asset, field), value)"""
    place, equals, value = text.partition("=")
    section, dot, field = place.partition(".")
    if not (equals and dot):
        raise UserError(f"--set {text}: write --set asset.field=value.")
    return (section, field), value
