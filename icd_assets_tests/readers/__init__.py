"""Every reader of a file that anyone may have made, with a sound file of its kind.

``READERS`` in ``caches``, ``data``, ``artifacts`` and ``models`` are the table; each target of :mod:`..fuzz` that
reads its file by our code alone is in it, too. ``test_places`` gives each reader every hostile thing in its file's
place; ``test_all`` fails for a function that opens files and is run by none of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from icd_assets.errors import UserError
from icd_assets.runtime.machine_errors import explain

# Of these the target itself reads the file, or leaves its name to others; the table has its own of their kind.
_OF_ITS_OWN = (
    "digests",
    "journal",
    "lever_plus_name",
    "model_folder",
    "pictures",
    "redaction",
    "table",
    "torch_pickle",
)


@dataclass(frozen=True)
class Reader:
    """``read`` gets the file's path; ``sound`` is its content, or writes it, with all that lies beside it.

    ``named``: what a refusal may name in the file's place. ``taken``: whether it takes the sound file.
    ``refusals``: what it may raise. ``cache``: nothing, it goes on without. ``values``: how many are changed,
    one by one.
    """

    read: Callable[[Path], object]
    place: str
    sound: bytes | Callable[[Path], object]
    refusals: tuple[type[Exception], ...] = (UserError,)
    cache: bool = False
    taken: bool = True
    named: str = ""
    values: int = 40

    def put(self, path: Path) -> None:
        """The sound file, and what lies beside it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(self.sound, bytes):
            path.write_bytes(self.sound)
        else:
            self.sound(path)


def as_a_command(read: Callable[[Path], object]) -> Callable[[Path], object]:
    """What the operating system raises is put into words where a command ends."""

    def explained(path: Path) -> object:
        try:
            return read(path)
        except OSError as error:
            raise explain(error) or error from None

    return explained


def every() -> dict[str, Reader]:
    """All readers by their names."""
    from icd_assets_tests.fuzz import driver
    from icd_assets_tests.readers import artifacts, caches, data, models

    found: dict[str, Reader] = {}
    for module in (caches, data, artifacts, models):
        assert not found.keys() & module.READERS.keys()
        found |= module.READERS
    for name in driver.names():
        if name not in _OF_ITS_OWN:
            target = driver.load(name)
            found[f"fuzzed {name}"] = _of_target(target, driver.refusals(target))
    return found


def _of_target(target: ModuleType, refusals: tuple[type[Exception], ...]) -> Reader:
    def sound(path: Path) -> Any:
        return path.write_bytes(next(iter(target.seeds())))

    return Reader(target.read, f"given{target.SUFFIX}", sound, refusals)
