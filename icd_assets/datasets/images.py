"""Are the images there and whole? Asked before hours of work rest on it, and of each file once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from icd_assets.datasets.verified_images import Stamp, VerifiedImages
from icd_assets.datasets.vqa import VqaItem, VqaSplit
from icd_assets.errors import UserError
from icd_assets.runtime.prefetch import prefetch
from icd_assets.runtime.progress import OnProgress, counting, ignore

_CHUNK = 1000  # images between two queries of what is known
_TOGETHER = 50  # files whose state one thread asks for

Size = tuple[int, int]  # width, height


@dataclass
class Looked:
    """Of some image files the upright sizes of the sound ones, and what is wrong with the others."""

    sizes: dict[Path, Size] = field(default_factory=dict)
    bad: dict[Path, str] = field(default_factory=dict)


def require_images(items: Iterable[VqaItem], folder: Path | None = None, on_progress: OnProgress = ignore) -> None:
    """Decode every image of ``items`` once, as :func:`look_at` does.

    Raises :class:`UserError` with the number of bad images, the first one's path and its question, and the file
    in ``folder`` that lists them all.
    """
    images = first_questions(items)
    if bad := look_at(list(images), folder, on_progress).bad:
        raise UserError(
            f"{bad_images(bad, images, folder)}; put the images where the catalog's images pattern points."
        )


def bad_images(bad: Mapping[Path, str], images: Mapping[Path, object], folder: Path | None) -> str:
    """How many, the first one and its question, and the file written into ``folder`` that lists them all."""
    first, problem = next(iter(bad.items()))
    listed = "" if folder is None else f"; all are listed in {_list(folder, bad, images)}"
    return (
        f"{len(bad)} of {len(images)} images are missing or unreadable, the first is {first} of question_id "
        f"{images[first]} ({problem}){listed}"
    )


def look_at(
    images: Sequence[Path],
    folder: Path | None = None,
    on_progress: OnProgress = ignore,
    *,
    read_only: bool = False,
) -> Looked:
    """Decode every image once, at an eighth of its size, in threads.

    What is found sound is remembered in ``folder``, with its size in pixels, and not decoded again while size and
    time of change of the file stay. ``read_only`` remembers nothing new.
    """
    on_progress, looked = counting(on_progress, "pictures checked"), Looked()
    memory = VerifiedImages(None if folder is None else folder / "sound_images.sqlite", read_only=read_only)
    with memory:
        for start in range(0, len(images), _CHUNK):
            chunk = images[start : start + _CHUNK]
            known = memory.stamps(chunk)
            states = dict(zip(chunk, _states(chunk), strict=True))
            done = start
            for path in [path for path in chunk if _still(known.get(path), states[path])]:
                stamp = known[path]
                looked.sizes[path] = (stamp.width, stamp.height)
                done += 1
            if done > start:
                on_progress(done, len(images))
            new = [path for path in chunk if path not in looked.sizes]
            sound: dict[Path, Stamp] = {}
            checks = prefetch(lambda path, known=known, states=states: _check(path, known, states), new)  # type: ignore[misc]
            for path, (size, problem) in zip(new, checks, strict=True):
                state, done = states[path], done + 1
                if size is None or state is None:
                    looked.bad[path] = problem or "missing"
                else:
                    looked.sizes[path] = size
                    sound[path] = state._replace(width=size[0], height=size[1])
                on_progress(done, len(images))
            memory.add(sound)
    return looked


def first_questions(items: Iterable[VqaItem]) -> dict[Path, object]:
    """Each image, and the question_id of the first question about it."""
    if isinstance(items, VqaSplit):
        pairs: Iterable[tuple[Path, object]] = zip(items.images, items.question_ids.tolist(), strict=True)
    else:
        pairs = ((item.image, item.question_id) for item in items)
    images: dict[Path, object] = {}
    for image, question_id in pairs:
        images.setdefault(image, question_id)
    return images


def _states(paths: Sequence[Path]) -> list[Stamp | None]:
    """Size and time of change of each file; None for one that is not there."""
    parts = [paths[start : start + _TOGETHER] for start in range(0, len(paths), _TOGETHER)]
    return [state for part in prefetch(lambda part: [_state(path) for path in part], parts) for state in part]


def _state(path: Path) -> Stamp | None:
    try:
        return Stamp.of(path.stat())
    except (OSError, ValueError):  # a name with NUL is none
        return None


def _still(known: Stamp | None, state: Stamp | None) -> bool:
    """Whether all is known of a file as it is."""
    return known is not None and state is not None and known.same_file(state) and known.width > 0


def _check(
    path: Path, known: Mapping[Path, Stamp], states: Mapping[Path, Stamp | None]
) -> tuple[Size | None, str | None]:
    """(size in pixels, what is wrong)"""
    from icd_assets.vlm.images import look, size_of

    stamp, state = known.get(path), states[path]
    if stamp is not None and state is not None and stamp.same_file(state) and (size := size_of(path)) is not None:
        return size, None  # known to be sound, but not how large
    return look(path)


def _list(folder: Path, bad: Mapping[Path, str], images: Mapping[Path, object]) -> Path:
    """A text file with path, question_id and problem of every bad image; the same ones, the same file."""
    lines = "".join(f"{path}\t{images[path]}\t{problem}\n" for path, problem in bad.items())
    content = lines.encode("utf-8", "backslashreplace")
    path = folder / f"bad_images-{hashlib.sha256(content).hexdigest()[:8]}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
