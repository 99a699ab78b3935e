"""The trackers that a setting may name: four of ours, and those of installed packages (entry points)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec

from icd_assets.trackers.interface import Open

# Each is a module of this package, and the name of the library that it needs, and of our extra.
OURS = ("tensorboard", "wandb", "mlflow", "trackio")


def valid() -> list[str]:
    """All names, ours first."""
    return [*OURS, *sorted(_of_packages())]


def missing(names: Iterable[str]) -> Iterator[str]:
    """A sentence for each of ``names`` whose library is not installed."""
    for name in names:
        if name in OURS and find_spec(name) is None:
            yield f"trackers names {name}, which is not installed; pip install 'icd-assets[{name}]', or unset it."


def opener(name: str) -> Open:
    """What opens a run at the tracker ``name``, a valid one."""
    found: Open
    found = import_module(f"icd_assets.trackers.{name}").open_run if name in OURS else _of_packages()[name].load()
    return found


def _of_packages() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group="icd_assets.trackers") if point.name not in OURS}
