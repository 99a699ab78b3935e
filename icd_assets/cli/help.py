"""How every command's help looks: commands in groups, options by what they are about, examples at the end.

click's own formatter draws it. A flag has one spelling, with dashes; underscores are read as dashes.
"""

from __future__ import annotations

import difflib
import shutil
from collections import UserDict
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import click

OPTIONS = "Options"  # the section of options that name none


def dashed(word: str) -> str:
    """``--rce_epochs`` → ``--rce-epochs``: upstream's spelling is understood, and not shown."""
    return word.replace("_", "-")


_CONTEXT = {"help_option_names": ["-h", "--help"], "token_normalize_func": dashed, "max_content_width": 80}


class _Formatter(click.HelpFormatter):
    """As wide as the terminal; click's own is never narrower than 50 columns."""

    def __init__(self, indent_increment: int = 2, width: int | None = None, max_width: int | None = None) -> None:
        fits = max(min(shutil.get_terminal_size().columns, max_width or 80) - 2, 24)
        super().__init__(indent_increment, width or fits)


class _Context(click.Context):
    formatter_class = _Formatter


class Command(click.Command):
    """A command with examples. A :class:`SectionOption` stands in a section of its own."""

    context_class = _Context

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        kwargs["context_settings"] = {**_CONTEXT, **kwargs.pop("context_settings", {})}
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {OPTIONS: []}
        for option in self.get_params(ctx):
            if isinstance(option, click.Option) and (record := option.get_help_record(ctx)) is not None:
                rows = sections.setdefault(getattr(option, "section", OPTIONS), [])
                if (about := getattr(option, "about", None)) and (heading := (f"{about}:", "")) not in rows:
                    rows.append(heading)
                rows.append(record)
        for title, rows in sections.items():
            with formatter.section(title):
                formatter.write_dl(rows, col_max=34 if formatter.width >= 60 else formatter.width // 3)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples:
                    formatter.write(f"{'':{formatter.current_indent}}{line}\n")


class SectionOption(click.Option):
    """An option that stands in a section of its own.

    about: what it is about, a line above the options of that. summary: its help in one short line.
    """

    def __init__(
        self, *args: Any, section: str, about: str | None = None, summary: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.section, self.about, self.summary = section, about, summary

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        record = super().get_help_record(ctx)
        if record is None or self.summary is None:
            return record
        name = self.opts[0] if not self.secondary_opts else f"--[no-]{self.opts[0].removeprefix('--')}"
        metavar = f" {self.metavar}" if self.metavar and not self.secondary_opts else ""
        return f"  {name}{metavar}", self.summary


class _OnDemand(UserDict[str, Any]):
    """Commands by name. The module of one is imported when it is asked for: all of them take half a second."""

    def __getitem__(self, name: str) -> click.Command:
        if isinstance(module := self.data[name], str):
            place = import_module(f"icd_assets.cli.{module.replace('-', '_')}")
            self.data[name] = getattr(place, name.replace("-", "_"))
        command: click.Command = self.data[name]
        return command


class Group(click.Group):
    """The command line: its commands in the order and under the headings of ``sections``."""

    context_class = _Context

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["context_settings"] = {**_CONTEXT, **kwargs.pop("context_settings", {})}
        super().__init__(*args, **kwargs)
        self.sections: Mapping[str, Sequence[str]] = {}

    def add(self, sections: Mapping[str, Sequence[str]], modules: Mapping[str, str]) -> None:
        """Commands by heading; ``modules``: where those lie that have no module of their own."""
        self.sections = sections
        self.commands = _OnDemand({name: modules.get(name, name) for names in sections.values() for name in names})

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for names in self.sections.values() for name in names]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        widest = max(map(len, self.commands))
        for title, names in self.sections.items():
            with formatter.section(title):
                lines = [(name.ljust(widest), self.commands[name].get_short_help_str(80)) for name in names]
                formatter.write_dl(lines)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if not args[0].startswith("-") and dashed(args[0]) not in self.commands:
            near = difflib.get_close_matches(dashed(args[0]), self.commands, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            ctx.fail(f"there is no command {args[0]!r}; {hint}valid: {', '.join(self.list_commands(ctx))}.")
        return super().resolve_command(ctx, args)
