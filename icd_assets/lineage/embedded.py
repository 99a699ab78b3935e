"""The lineage that a file carries inside, so that a copy taken elsewhere still names its inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from icd_assets.datasets.json_file import read_json
from icd_assets.errors import UserError
from icd_assets.runtime.foreign import brief, printable
from icd_assets.runtime.plain_file import in_words, open_plain
from icd_assets.runtime.small_file import parse_json

# Lengths stand beside the patterns: \w{1,200} takes a fifth of a second to compile, whenever a command starts.
_OF_SELECTOR = ("config.json", "model.safetensors")  # as in selector_file.py, which imports torch
_TAIL = 1 << 20  # bytes; our RL data end with `_meta` on a line of its own
_Plain = Field(max_length=200, pattern=r"^[\w.:+-]+$")  # it may come from anywhere, and is printed


class EmbeddedLineage(BaseModel):
    """What :meth:`icd_assets.store.store.Spec.lineage` wrote; newer or other keys beside it are left alone."""

    model_config = ConfigDict(frozen=True)

    asset: str = Field(max_length=60, pattern=r"^\w+$")
    code_version: str = _Plain
    config_digest: str = _Plain
    inputs: dict[str, str]


def read_embedded(path: Path) -> EmbeddedLineage:
    """The lineage in a ``.pt``, a ``.ckpt``, RL data, or one of the two files of a selector's folder.

    Raises :class:`UserError` for a file of another kind, a damaged one, and one that does not say.
    """
    if path.suffix in (".pt", ".ckpt"):
        from icd_assets.selector.torch_file import read_torch_file
        from icd_assets.selector.v3_file import LINEAGE  # imports torch, which only these files need

        found = read_torch_file(path, lightning=path.suffix == ".ckpt").get(LINEAGE)
    elif path.name in _OF_SELECTOR and (path.with_name(_OF_SELECTOR[1])).is_file():
        from icd_assets.selector.selector_file import read_selector

        found = read_selector(path.parent).lineage or None
    elif path.suffix == ".json":
        found = _meta(path).get("lineage")
    else:
        raise UserError(
            f"{path} is not a file that says what it was made from (.pt, .ckpt, RL data, or {_OF_SELECTOR[0]} and "
            f"{_OF_SELECTOR[1]} of a selector)."
        )
    if found is None:
        raise UserError(
            f"{path} does not say what it was made from, and no manifest under the results root has its content; "
            "it was not written by icd_assets, or RESULT_DIR means another folder."
        )
    try:
        embedded = EmbeddedLineage.model_validate(found)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"]) or "all of it"
        raise UserError(
            f"{path}: its lineage is not of our form (at {printable(where[:120])}); the file is damaged."
        ) from None
    for name, digest in embedded.inputs.items():
        if not (name.replace(".", "_").isidentifier() and digest.isalnum()):
            raise UserError(f"{path}: its lineage names an input {brief(name)} that cannot be one; it is damaged.")
    return embedded


def _meta(path: Path) -> dict[str, Any]:
    """``_meta`` of RL data. It is the last line; a reformatted copy is read as a whole."""
    try:
        with open_plain(path) as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL))
            tail = file.read(_TAIL)
    except OSError as error:
        raise UserError(f"{path}: {in_words(error)}.") from None
    place = tail.rfind(b'\n"_meta": ')
    if place >= 0:
        try:
            found = parse_json((b"{" + tail[place + 1 :]).decode("utf-8"))
        except ValueError:
            pass
        else:
            return found["_meta"] if isinstance(found["_meta"], dict) else {}
    content = read_json(path)
    meta = content.get("_meta") if isinstance(content, dict) else None
    return meta if isinstance(meta, dict) else {}
