"""Whatever stands in the place of a file, whoever opens it ends in one sentence, in little time and memory.

Each reader of the table gets no file (a pipe, a device, a folder, a loop, 10 GiB of nothing), no text, text of
another form, and its own with one value of another kind. ``python -m icd_assets_tests.readers.test_places``
counts.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import pytest

from icd_assets.errors import UserError
from icd_assets_tests.readers import Reader, every
from icd_assets_tests.worlds import hostile
from icd_assets_tests.worlds.hostile_changes import changed
from icd_assets_tests.worlds.limits import TooLongError, limits

SECONDS = 10
_LONGEST = 2500  # characters


@dataclass
class Tried:
    """What became of the cases of one reader."""

    count: Counter[str] = field(default_factory=Counter)
    stumbled: list[str] = field(default_factory=list)


def attempts(reader: Reader, folder: Path, *, more: int = 1) -> Tried:
    """Every hostile thing in the place of the reader's file, and ``more`` times its number of changed values."""
    found, path = Tried(), folder / reader.place
    reader.put(path)
    with nullcontext() if reader.taken else pytest.raises(reader.refusals):
        reader.read(path)
    reader.put(path)  # reading may have changed it, as a database
    cases = [*hostile.in_place_of(path), *changed(path, reader.values * more)]
    for name, put in cases:
        for other in path.parent.glob(f"{path.stem}*-*"):  # SQLite's own, of the database before
            if other.name.startswith(path.name) and other != path:
                other.unlink()
        put()
        outcome, problem = _attempt(reader, path)
        if name == "folder with a file" and not (path / "mine.txt").is_file():
            problem = "removed somebody's file"
        found.count["stumbled" if problem else outcome] += 1
        if problem:
            found.stumbled.append(f"{name}: {problem}")
    hostile.clear(path)
    return found


def _attempt(reader: Reader, path: Path) -> tuple[str, str | None]:
    """(how it ended, what was wrong with that)"""
    here = Path.cwd()
    began = time.process_time()
    try:
        with limits(3 * SECONDS):
            reader.read(path)
    except TooLongError:
        return "stumbled", "hangs"
    except reader.refusals as error:
        words = str(error)
        if reader.cache:
            return "stumbled", f"a cache is no reason to fail: {words[:200]}"
        if len(words) > _LONGEST:
            return "stumbled", f"a sentence of {len(words):,} characters"
        if isinstance(error, UserError):
            words.encode()
            names = (path.stem.split(".")[0], path.parent.name, reader.named or path.name)
            if not any(one in words for one in names):
                return "stumbled", f"does not name the file: {words[:200]}"
        outcome = "refused"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        places = [one for one in traceback.extract_tb(error.__traceback__) if "/icd_assets" in one.filename]
        ours = " ".join(f"{Path(one.filename).name}:{one.lineno}" for one in places[-3:])
        return "stumbled", f"{type(error).__name__}: {str(error)[:100]!r} at {ours}"
    else:
        outcome = "went on"
    finally:
        os.chdir(here)
    if (seconds := time.process_time() - began) > SECONDS:
        return "stumbled", f"{seconds:.0f} seconds"
    return outcome, None


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """No home but this folder, and nothing is waited for on the disk."""
    here, environment = Path.cwd(), dict(os.environ)
    os.environ["DAGSTER_HOME"] = str(folder)
    os.chdir(folder)
    try:
        with patch("os.fsync"):
            yield
    finally:
        os.chdir(here)
        os.environ.clear()
        os.environ.update(environment)


@pytest.mark.parametrize("name", every())
def test_whatever_stands_in_the_place_of_a_file_is_one_sentence(name: str, tmp_path: Path) -> None:
    with alone(tmp_path):
        found = attempts(every()[name], tmp_path)
    assert found.stumbled == []
    assert found.count.total() > 40


def main(words: list[str]) -> None:
    """Every reader, or those whose name has one of the words; ``--times N`` the changed values; counts."""
    times = 1
    if "--times" in words:
        at = words.index("--times")
        times = int(words[at + 1])
        del words[at : at + 2]
    total, stumbled = Counter[str](), 0
    for name, reader in every().items():
        if words and not any(word in name for word in words):
            continue
        begun = time.monotonic()
        with tempfile.TemporaryDirectory() as folder, alone(Path(folder)):
            found = attempts(reader, Path(folder), more=times)
        for line in found.stumbled:
            print(f"  {line}".encode(errors="backslashreplace").decode())
        print(f"{name:<28} {dict(found.count)} {time.monotonic() - begun:.1f} s", flush=True)
        total += found.count
        stumbled += bool(found.stumbled)
    print(f"tried {total.total():,}: {dict(total)}; {stumbled} readers stumbled")


if __name__ == "__main__":
    main(sys.argv[1:])
