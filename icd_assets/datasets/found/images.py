"""Where the images of a dataset lie: a pattern that turns an image id into a file."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from icd_assets.datasets.found.folder import PICTURES, Folder
from icd_assets.datasets.found.words import split_word
from icd_assets.datasets.ids import Id
from icd_assets.errors import UserError
from icd_assets.runtime.foreign import brief
from icd_assets.runtime.user_path import expanded

_SAMPLE = 300  # images by which patterns are compared


@dataclass(frozen=True)
class Images:
    """``pattern`` as the catalog has it, and the images that are not where it says."""

    pattern: str
    count: int
    missing: tuple[str, ...]


def find_images(folder: Folder, ids: Sequence[Id], named_in: Path, given: str | None = None) -> Images:
    """The pattern under which most of ``ids`` are files; ``named_in`` names them, ``given`` is the user's folder
    or pattern.

    Raises :class:`UserError` if no image is found.
    """
    unique = list(dict.fromkeys(ids))
    sample = unique[:: max(1, len(unique) // _SAMPLE)]
    # The folders nearest to the file first; of equally good ones the first is taken.
    patterns = list(dict.fromkeys(_given(given, sample) if given else _patterns(folder, sample, named_in)))
    hits = [sum(_exists(pattern, one) for one in sample) for pattern in patterns]
    if not patterns or max(hits) == 0:
        raise UserError(
            f"{named_in}: none of its {len(unique)} images (the first: {str(unique[0])!r}) was found under "
            f"{given or folder.root}; {_advice(folder, str(unique[0]))}."
        )
    pattern = patterns[hits.index(max(hits))]
    missing = tuple(str(_filled(pattern, one)) for one in unique if not _exists(pattern, one))
    return Images(pattern, len(unique), missing)


def _advice(folder: Folder, first: str) -> str:
    """By what is there instead: the name with other letters, or in a folder of another machine."""
    name = PurePosixPath(first).name
    here = {other.lower(): place / other for place, names in folder.pictures.items() for other in names}
    if (there := here.get(name.lower())) is not None:
        if there.name != name:
            return f"{folder.shown(there)} is there, of other letters: give one of them the other's name"
        return f"{folder.shown(there)} is there: write the paths so that they begin at a folder here"
    if first.startswith(("http://", "https://")):
        return "download them, and write their files' names in place of the addresses"
    return "put them there, or say where they are: --images FOLDER"


def _given(given: str, sample: Sequence[Id]) -> Iterator[str]:
    if "{image_id" in given:
        yield str(expanded(given, "--images").absolute())
        return
    place = expanded(given, "--images").absolute()
    if not place.is_dir():
        raise UserError(
            f"--images {brief(given)}: there is no such folder; give the images' folder, or a pattern."
        )
    inside = Folder(place, pictures={place: sorted(path.name for path in place.iterdir())})
    yield from _patterns(inside, sample, place / "x")


def _patterns(folder: Folder, sample: Sequence[Id], named_in: Path) -> Iterator[str]:
    near = sorted(folder.pictures, key=lambda place: (_apart(folder, place, named_in), len(place.parts), place))
    if isinstance(sample[0], int):
        for place in near:
            yield from _numbered(place, folder.pictures[place])
        return
    absolute = [one for one in map(str, sample) if one.startswith("/")]
    if absolute:
        inside = all(Path(one).is_relative_to(folder.root) for one in absolute)
        top = str(folder.root) if inside else os.path.commonpath([str(Path(one).parent) for one in absolute])
        yield f"{_escaped(top.rstrip('/'))}/{{image_id}}"
        return
    above = [parent for place in near for parent in place.parents if parent.is_relative_to(folder.root)]
    suffixes = ["", *_suffixes(folder)]
    # Last, paths that begin with the folder's own name.
    for place in dict.fromkeys([named_in.parent, folder.root, *near, *above, folder.root.parent]):
        for suffix in suffixes:
            yield f"{_escaped(str(place))}/{{image_id}}{suffix}"


def _numbered(place: Path, names: Iterable[str]) -> Iterator[str]:
    """``COCO_train2014_{image_id:012d}.jpg``, ``{image_id}.png``: the forms of the names, the commonest first."""
    forms: Counter[tuple[str, str]] = Counter()
    widths: dict[tuple[str, str], set[int]] = {}
    for name in names:
        suffix = Path(name).suffix
        match = re.fullmatch(r"(.*?)(\d+)", Path(name).stem)
        if match and suffix.lower() in PICTURES:
            form = match[1], suffix
            forms[form] += 1
            if match[2].startswith("0") and len(match[2]) > 1:
                widths.setdefault(form, set()).add(len(match[2]))
    for (before, suffix), _ in forms.most_common(50):
        for width in (*sorted(widths.get((before, suffix), ())), None):
            number = "{image_id}" if width is None else f"{{image_id:0{width}d}}"
            yield f"{_escaped(str(place))}/{_escaped(before)}{number}{suffix}"


def _suffixes(folder: Folder) -> list[str]:
    found = Counter(Path(name).suffix for names in folder.pictures.values() for name in names)
    return [suffix for suffix, _ in found.most_common(6)]


def _apart(folder: Folder, place: Path, file: Path) -> tuple[bool, int]:
    """Whether a place is of another split than a file, and how many folders of the file's it is not in."""
    words = split_word(folder.shown(place / "x")), split_word(folder.shown(file))
    shared = os.path.commonpath([place, file.parent])
    return None not in words and words[0] != words[1], -len(Path(shared).parts)


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _filled(pattern: str, image_id: Id) -> Path:
    if isinstance(image_id, str) and image_id.startswith("/"):
        return Path(image_id)
    return Path(pattern.format(image_id=image_id))


def _exists(pattern: str, image_id: Id) -> bool:
    try:
        return _filled(pattern, image_id).is_file()
    except (OSError, ValueError):
        return False
