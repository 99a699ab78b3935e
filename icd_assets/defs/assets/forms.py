"""Settings as fields of Dagster's Launchpad, each unset until a user sets it.

A field that is not set has the value that the cell's artifacts were made with, so a click on *Materialize* goes on
with what is there; a field that is set wins.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, Field
from pydantic.fields import FieldInfo

_UNSET = "unset"


def unset_fields(
    model: type[BaseModel], names: Iterable[str], per_dataset: Collection[str] = ()
) -> dict[str, Any]:
    """The fields ``names`` of a group of settings, for pydantic's ``create_model``: all optional, and described.

    ``per_dataset``: those that the catalog may give for a dataset. Values are checked with the settings, not here.
    """
    fields: dict[str, Any] = {}
    for name in names:
        info = model.model_fields[name]
        kind: Any = info.annotation
        described = _described(info, name in per_dataset)
        if get_origin(kind) is Literal:  # Dagster (1.13.27) has no optional choice
            fields[name] = (Literal[_UNSET, *get_args(kind)], Field(_UNSET, description=described))
        else:
            fields[name] = (kind | None, Field(None, description=described))
    return fields


def given(form: BaseModel, names: Iterable[str]) -> dict[str, Any]:
    """The fields that were set, by name."""
    return {name: value for name in names if (value := getattr(form, name)) not in (None, _UNSET)}


def _described(info: FieldInfo, per_dataset: bool) -> str:
    """With what an unset field means; a default of None is described by the field itself."""
    default = str(info.default).lower() if isinstance(info.default, bool) else info.default
    otherwise = f", else {default}" if default is not None else ""
    catalog = ", else the catalog's value for the dataset" if per_dataset else ""
    return f"{info.description} Not set: as made{catalog}{otherwise}."
