"""The pattern of a split's image paths, such as ``train2014/COCO_train2014_{image_id:012d}.jpg``.

It is filled by ``str.format``, which can be asked for texts of any length and for the insides of Python's objects:
only ``{image_id}`` with a width passes.
"""

from __future__ import annotations

import re
import string

from icd_assets.runtime.foreign import brief

_WIDEST = 32  # characters of an image's number with the zeros before it
_FORM = re.compile(r"(?:0?(?P<width>[1-9][0-9]{0,2}))?d?")


def require_pattern(pattern: str) -> None:
    """Raise ``ValueError``, with the pattern and what is wrong with it, for one that is not to be filled."""
    try:
        parts = list(string.Formatter().parse(pattern))
    except ValueError as error:
        raise ValueError(f"{brief(pattern)} cannot be filled ({error}); {_LIKE}") from None
    for _, name, form, conversion in parts:
        if name is None:
            continue
        if name != "image_id" or conversion is not None:
            raise ValueError(f"{brief(pattern)} asks for something else than {{image_id}}; {_LIKE}")
        found = _FORM.fullmatch(form or "")
        if found is None or int(found["width"] or 0) > _WIDEST:
            raise ValueError(
                f"{brief(pattern)}: the form {brief(form)} is no width of at most {_WIDEST} digits; {_LIKE}"
            )


_LIKE = "write it like COCO_{image_id:012d}.jpg or {image_id}.jpg"
