"""Ids as datasets have them: a number, or a text such as ``22jbM6gDxdaMaunuzgrsBB`` or ``VizWiz_val_00000.jpg``.

A question keeps the id that it has, in every file. An image whose id is a text gets a number besides, by which
pools compare images across splits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

from icd_assets.errors import UserError
from icd_assets.runtime.foreign import brief

Id = int | str

_NAME = 255  # bytes of a file's name
_LONGEST = 1024  # characters of a text; a path is no longer


def id_of(record: dict[str, Any], key: str, at: str, fix: str = "give the official VQA file") -> Id:
    """A whole number from 0 on, or a text that is not blank."""
    if key not in record:
        raise UserError(f"{at} has no key {brief(key)}; {fix}.")
    value = record[key]
    if type(value) is int:  # a bool is an int, but not an id
        if not 0 <= value < 1 << 63:
            raise UserError(f"{at}: {brief(key)} is {brief(value)}, which is no id; {fix}.")
        return value
    if not isinstance(value, str):
        raise UserError(f"{at}: {brief(key)} is {brief(value)}, not of type int or str; {fix}.")
    if not value.strip() or len(value) > _LONGEST or not value.isprintable():
        raise UserError(f"{at}: {brief(key)} is {brief(value, 40)}, which is no id; fix the record.")
    return value


class OneKind:
    """Refuses a split in which some ids are numbers and some are texts: they have no order."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._first: tuple[Id, str] | None = None

    def check(self, value: Id, at: str) -> Id:
        first, place = self._first = self._first or (value, at)
        if isinstance(first, str) != isinstance(value, str):
            raise UserError(
                f"{at}: {self._key!r} is {brief(value)}, but {brief(first)} at {place}; write all of them as "
                "numbers, or all as texts."
            )
        return value


def id_number(text: str) -> int:
    """The number that stands for a text: the first 53 bits of its SHA-256, which any JSON reader keeps."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big") >> 11


def check_image_names(names: Iterable[str], images: str, where: str) -> None:
    """Raises :class:`UserError` for a name that leads out of the folder that the pattern ``images`` names, or that
    no file can have."""
    folder = PurePosixPath(images.partition("{image_id")[0] + "x").parent
    for name in names:
        path = PurePosixPath(name)
        if len(name) > _NAME // 4 and any(len(part.encode()) > _NAME for part in path.parts):
            raise UserError(
                f"{where}: the image {brief(name)} has a name of more than {_NAME} bytes, which no file has; "
                "fix the record."
            )
        if ".." in path.parts:
            raise UserError(
                f"{where}: the image {brief(name)} leads out of the images' folder; write paths that begin at "
                "the folder which holds them all, and give that one."
            )
        if path.is_absolute() and not path.is_relative_to(folder):
            raise UserError(
                f"{where}: the image {brief(name)} lies outside {folder}; write paths within that folder, or "
                "point the dataset's images in the catalog at the folder that holds them all."
            )
