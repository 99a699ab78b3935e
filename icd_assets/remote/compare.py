"""Here and there: what of a results root a remote has."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from icd_assets.remote.here import Here
from icd_assets.remote.place import Place
from icd_assets.remote.shelf import Shelf, chosen, same, was_here

# newer here: the remote has one that lay here before · newer there: the other way round · apart: neither
State = Literal["same", "only here", "only there", "newer here", "newer there", "apart"]


@dataclass(frozen=True)
class Compared:
    """One place, and how what lies there compares."""

    place: str
    asset: str
    cell: str
    state: State
    created_here: str | None
    created_there: str | None


def compare(here: Here, remote: Place, cells: Collection[str] = ()) -> tuple[list[Compared], list[str]]:
    """Every artifact of ``cells`` (none: of all) here or there, and sentences about what could not be read."""
    shelf = Shelf(remote)
    shelf.require_ours()
    found = []
    for place in sorted({*here.artifacts, *shelf.held}):
        mine, theirs = here.artifacts.get(place), shelf.held.get(place)
        manifest = mine.manifest if mine is not None else theirs.manifest if theirs is not None else None
        if manifest is None or not chosen(manifest, cells, ()):
            continue
        state: State
        if mine is None:
            state = "only there"
        elif theirs is None:
            state = "only here"
        elif same(mine.manifest, theirs.manifest):
            state = "same"
        elif was_here(mine.store, theirs.manifest):
            state = "newer here"
        elif any(same(mine.manifest, before) for before in shelf.earlier(place)):
            state = "newer there"
        else:
            state = "apart"
        found.append(
            Compared(
                place,
                manifest.spec.asset,
                manifest.cell,
                state,
                mine.manifest.created_at if mine is not None else None,
                theirs.manifest.created_at if theirs is not None else None,
            )
        )
    return found, [*here.broken, *shelf.sentences()]
