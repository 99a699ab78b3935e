"""Pictures small enough that hundreds of them fit into one file."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL import Image

from icd_assets.errors import UserError
from icd_assets.runtime.prefetch import prefetch
from icd_assets.runtime.progress import OnProgress, counting, ignore
from icd_assets.vlm.images import read_image

_SIDES = (160, 128, 112, 96, 80, 64, 48)  # pixels of the longer side, the largest that fits is taken
_TRIED = 48  # pictures that say how large all will be
_IMPORTANT = 0.7  # of the budget


@dataclass(frozen=True, slots=True)
class Thumbnails:
    """``urls``: a data URL for each picture, None for one that cannot be read or did not fit. ``sides``: pixels of
    the longer side, of the important ones and of the others."""

    urls: list[str | None]
    sides: tuple[int, int]
    unreadable: int
    left_out: int


def thumbnails(
    paths: Sequence[Path | None], budget: int, important: int, on_progress: OnProgress = ignore
) -> Thumbnails:
    """Of each picture, as large as they fit into ``budget`` bytes of text.

    important: how many of the first ones may take most of it; the others get what is left. Where not even the
    smallest fit, the last ones are left out. A picture that is missing or broken is none.
    """
    advance = counting(on_progress, "pictures")
    urls: list[str | None] = []
    spent = unreadable = left_out = 0
    shares = ((paths[:important], _IMPORTANT * budget), (paths[important:], budget))
    sides = [_SIDES[0]]
    for group, until in shares:
        sides.append(side := _side(group, until - spent, sides[-1]))
        for url in prefetch(partial(_url, side=side), group):
            unreadable += url is None
            if url is not None and spent + len(url) > until:
                url, left_out = None, left_out + 1
            spent += len(url or "")
            urls.append(url)
            advance(len(urls), len(paths))
    return Thumbnails(urls, (sides[1], sides[2]), unreadable, left_out)


def _side(paths: Sequence[Path | None], budget: float, most: int) -> int:
    """The largest side up to ``most`` at which all pictures fit, by some of them."""
    tried = paths[:: max(1, len(paths) // _TRIED)]
    for side in _SIDES[_SIDES.index(most) :]:
        sizes = [len(url) for path in tried if (url := _url(path, side)) is not None]
        if sum(sizes) * len(paths) <= 0.95 * budget * len(tried):
            return side
    return _SIDES[-1]


def _url(path: Path | None, side: int) -> str | None:
    if path is None:
        return None
    try:
        picture = read_image(path)
    except UserError:
        return None
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=60, method=4)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
