"""``lineage.json`` of a published folder: the chain behind a selector, for whoever has that folder alone.

The keys are those of ``lineage --json``. Folders of the machine are left out: of an absolute path its last part
stands there. What is read back may come from anywhere. It is checked as a manifest is, and remains a claim of
whoever wrote it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from icd_assets.datasets.json_file import read_json
from icd_assets.errors import UserError
from icd_assets.lineage.as_json import LINEAGE_SCHEMA, as_json
from icd_assets.lineage.chain import Artifact
from icd_assets.lineage.target import Target
from icd_assets.store.manifest import FileRecord, Input, Manifest, Spec, moment
from icd_assets.store.store import Store

NAME = "lineage.json"
_MOST = 500  # artifacts: a cell has a dozen, and chains are walked by recursion


def document_of(chains: Sequence[Artifact], store: Store) -> dict[str, Any]:
    """What ``lineage.json`` says of ``chains``."""
    found = as_json([Target(chain) for chain in chains], store, None, None)
    shared: dict[str, Any] = _without_folders({"schema": LINEAGE_SCHEMA, **found, "results_root": None})
    return shared


def _without_folders(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_folders(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_without_folders(one) for one in value]
    return PurePath(value).name if isinstance(value, str) and PurePath(value).is_absolute() else value


_Moment = Annotated[str, Field(max_length=40), AfterValidator(moment)]


class _Node(BaseModel):
    """An artifact of the document; what lies outside has no cell."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(max_length=100)
    data_version: str | None = Field(max_length=100)
    cell: str | None = None
    run_id: str | None = None
    created_at: _Moment | None = None
    code_version: str | None = None
    config_digest: str | None = None
    config: dict[str, Any] | None = None
    environment: dict[str, str] | None = None
    origin: str | None = None
    seconds: float | None = Field(None, ge=0, le=1e9)
    files: list[FileRecord] = []
    inputs: dict[str, str] = {}


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True)

    form: Literal[2] = Field(alias="schema")
    artifacts: dict[str, _Node] = Field(max_length=_MOST)


def published_beside(file: Path) -> list[Manifest]:
    """The manifests that the ``lineage.json`` in a file's folder stands for; none where there is none.

    Raises ``UserError`` for one that is damaged or foreign.
    """
    path = file.with_name(NAME)
    if not (file.is_file() and path.is_file()):
        return []
    content = read_json(path)
    try:
        document = _Document.model_validate(content)
        return _manifests(document.artifacts)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])[:200] or "all of it"
    except KeyError as error:
        where = str(error)[:200]
    raise UserError(f"{path} is no lineage of a published selector (at {where}); download it again, or remove it.")


def _manifests(nodes: dict[str, _Node]) -> list[Manifest]:
    """Of every artifact whose manifest was known. A part of one, such as its encoder, is a fact of it."""
    parts = {
        (node.name.partition(".")[0], node.cell, node.run_id, node.created_at): (
            f"{node.name.partition('.')[2]}_digest",
            node.data_version,
        )
        for node in nodes.values()
        if "." in node.name
    }
    found = []
    for node in nodes.values():
        if node.cell is None or "." in node.name:
            continue
        part = parts.get((node.name, node.cell, node.run_id, node.created_at))
        found.append(_manifest(node, nodes, dict([part] if part else [])))
    return found


def _manifest(node: _Node, nodes: dict[str, _Node], facts: dict[str, Any]) -> Manifest:
    given = {name: nodes[key] for name, key in node.inputs.items()}
    inputs = {
        name: {"data_version": one.data_version, "run_id": one.run_id, "created_at": one.created_at}
        for name, one in given.items()
    }
    spec = {
        "asset": node.name,
        "code_version": node.code_version,
        "config": node.config,
        "inputs": {name: Input.model_validate(one) for name, one in inputs.items()},
    }
    return Manifest.model_validate(
        {
            "spec": Spec.model_validate(spec),
            "config_digest": node.config_digest,
            "data_version": node.data_version,
            "files": node.files,
            "facts": facts,
            "origin": node.origin,
            "cell": node.cell,
            "run_id": node.run_id,
            "created_at": node.created_at,
            "seconds": node.seconds,
            "environment": node.environment,
        }
    )
