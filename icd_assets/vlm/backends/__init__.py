"""Where the answers of a model come from: one file per kind of backend, and the table of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from icd_assets.vlm.backends.config import BackendConfig
from icd_assets.vlm.backends.in_process import InProcess
from icd_assets.vlm.backends.served import Served

# The field of a model's catalog entry that chooses the backend, which has one more field of this name.
BACKENDS: dict[str, type[BackendConfig]] = {"path": InProcess, "endpoint": Served}


def with_backend(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A model's entry as the catalog has it, with the fields of its backend in one object, ``backend``.

    Raises ``ValueError`` (of pydantic too) if no backend or several are chosen, or a field is another one's.
    """
    given = {name: value for name, value in entry.items() if name not in BACKENDS or value is not None}
    chosen = [name for name in BACKENDS if name in given]
    if len(chosen) != 1:
        raise ValueError(f"a model has exactly one of {', '.join(BACKENDS)}; give one of them")
    if "backend" in given:
        raise ValueError(f"backend is no field of a model; leave it out beside {_one(chosen[0])}")
    own = BACKENDS[chosen[0]]
    for name, other in BACKENDS.items():
        if ignored := [field for field in given if field in other.model_fields.keys() - own.model_fields]:
            raise ValueError(
                f"{ignored[0]} is a setting of models with {_one(name)}; leave it out beside {_one(chosen[0])}"
            )
    backend = own.model_validate({name: value for name, value in given.items() if name in own.model_fields})
    rest = {name: value for name, value in given.items() if name not in own.model_fields}
    return {**rest, "backend": backend}


def _one(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
