"""Every setting as a user meets it: its names, its default, what it may be; for help, docs and flags."""

from __future__ import annotations

from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from icd_assets.experiment.step_configs import Shared
from icd_assets.experiment.steps import sections

_BOUNDS = (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))


@dataclass(frozen=True)
class Setting:
    """``variable`` is None where there is only ``--set`` (and the Launchpad)."""

    section: str
    field: str
    variable: str | None
    flag: str | None
    default: Any
    kind: str  # N, X, TEXT, PATH, LIST, CHOICE or FLAG: as a flag's help shows its value
    choices: tuple[str, ...]  # empty: not a choice
    allowed: str  # in words
    meaning: str

    @property
    def name(self) -> str:
        """As ``--set`` takes it."""
        return f"{self.section}.{self.field}"


def every_setting() -> list[Setting]:
    """In the order of the pipeline; what a cell's steps share stands once, under ``shared``."""
    return [
        _setting(section, name, info)
        for section, model in sections().items()
        for name, info in model.model_fields.items()
        if section == "shared" or name not in Shared.model_fields
    ]


def in_words(value: Any) -> str:
    """A default or a value as a user would type it."""
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ",".join(map(in_words, value))
    return str(value)


def _setting(section: str, name: str, info: FieldInfo) -> Setting:
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    variable = extra.get("env")
    dashed = f"--{variable.lower().replace('_', '-')}" if isinstance(variable, str) else None
    kind, choices, allowed = _type(info.annotation, list(info.metadata))
    if extra.get("path"):
        kind, allowed = "PATH", allowed.replace("text", "a path")
    return Setting(
        section,
        name,
        variable if isinstance(variable, str) else None,
        str(extra.get("flag") or dashed) if dashed is not None else None,
        info.default,
        kind,
        choices,
        allowed,
        info.description or "",
    )


def _type(annotation: Any, metadata: list[Any]) -> tuple[str, tuple[str, ...], str]:
    """kind, choices and allowed of an annotation."""
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(inside[0], [*metadata, *inside[1:]])
    if origin is Literal:
        choices = tuple(map(str, inside))
        return "CHOICE", choices, " · ".join(choices)
    if origin in (Union, UnionType):
        parts = [_type(part, metadata) for part in inside if part is not NoneType]
        choices = tuple(choice for _, some, _ in parts for choice in some)
        allowed = " · ".join(choices) if choices else " or ".join(allowed for _, _, allowed in parts)
        return parts[0][0], choices, f"{allowed}, or unset" if NoneType in inside else allowed
    if origin is list:
        return "LIST", (), f"list of: {_type(inside[0], [])[2]}"
    if annotation is bool:
        return "FLAG", (), "true or false"
    kind, word = {int: ("N", "integer"), float: ("X", "number")}.get(annotation, ("TEXT", "text"))
    return kind, (), f"{word} {_bounds(metadata)}".rstrip()


def _bounds(metadata: list[Any]) -> str:
    inner = [one for info in metadata for one in (info.metadata if isinstance(info, FieldInfo) else [info])]
    return ", ".join(
        f"{sign} {in_words(bound)}"
        for one in inner
        for name, sign in _BOUNDS
        if (bound := getattr(one, name, None)) is not None
    )
