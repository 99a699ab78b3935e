"""Are the images there and whole? Asked before hours of work rest on it, and of each file once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from icd_assets.datasets.verified_images import Stamp, VerifiedImages
from icd_assets.datasets.vqa import VqaItem, VqaSplit
from icd_assets.errors import UserError
from icd_assets.runtime.prefetch import prefetch
from icd_assets.runtime.progress import OnProgress, ignore

_CHUNK = 1000  # images between two queries of what is known


def require_images(items: Iterable[VqaItem], folder: Path | None = None, on_progress: OnProgress = ignore) -> None:
    """Decode every image of ``items`` once, at an eighth of its size, in threads.

    What is found sound is remembered in ``folder`` and not decoded again while size and time of change stay.
    Raises :class:`UserError` with the number of bad images, the first one's path and its question, and the file
    in ``folder`` that lists them all.
    """
    images = _images(items)
    bad: dict[Path, str] = {}
    memory = VerifiedImages(None if folder is None else folder / "sound_images.sqlite")
    with memory:
        paths = list(images)
        for start in range(0, len(paths), _CHUNK):
            chunk = paths[start : start + _CHUNK]
            known = memory.stamps(chunk)
            sound: dict[Path, Stamp] = {}
            checks = prefetch(lambda path, known=known: _check(path, known), chunk)  # type: ignore[misc]
            for done, (path, (stamp, problem)) in enumerate(zip(chunk, checks, strict=True), start=start + 1):
                if problem is not None:
                    bad[path] = problem
                elif stamp is not None and known.get(path) != stamp:
                    sound[path] = stamp
                on_progress(done, len(paths))
            memory.add(sound)
    if bad:
        first, problem = next(iter(bad.items()))
        listed = "" if folder is None else f"; all are listed in {_list(folder, bad, images)}"
        raise UserError(
            f"{len(bad)} of {len(images)} images are missing or unreadable, the first is {first} of question_id "
            f"{images[first]} ({problem}){listed}; put the images where the catalog's images pattern points."
        )


def _images(items: Iterable[VqaItem]) -> dict[Path, object]:
    """Each image, and the first question about it."""
    if isinstance(items, VqaSplit):
        pairs: Iterable[tuple[Path, object]] = zip(items.images, items.question_ids.tolist(), strict=True)
    else:
        pairs = ((item.image, item.question_id) for item in items)
    images: dict[Path, object] = {}
    for image, question_id in pairs:
        images.setdefault(image, question_id)
    return images


def _check(path: Path, known: Mapping[Path, Stamp]) -> tuple[Stamp | None, str | None]:
    """(size and time of change before the check, what is wrong)"""
    from icd_assets.vlm.images import problem

    try:
        status = path.stat()
    except OSError:
        return None, problem(path)
    stamp = status.st_size, status.st_mtime_ns
    return stamp, None if known.get(path) == stamp else problem(path)


def _list(folder: Path, bad: Mapping[Path, str], images: Mapping[Path, object]) -> Path:
    """A text file with path, question_id and problem of every bad image; the same ones, the same file."""
    lines = "".join(f"{path}\t{images[path]}\t{problem}\n" for path, problem in bad.items())
    content = lines.encode("utf-8", "backslashreplace")
    path = folder / f"bad_images-{hashlib.sha256(content).hexdigest()[:8]}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
