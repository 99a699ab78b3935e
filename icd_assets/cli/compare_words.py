"""What the words of ``icd-assets compare`` name: cells, their experiments and earlier evaluations, and paths."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from icd_assets.cli.cells import split_cells
from icd_assets.cli.session import Session
from icd_assets.cli.summary import cell_words
from icd_assets.datasets.table_file import FORMATS
from icd_assets.errors import UserError
from icd_assets.evaluation.earlier import Earlier, earlier
from icd_assets.experiment.cell import Cell
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.settings import assigned
from icd_assets.experiment.variants import variants
from icd_assets.lineage.there import fitting, flags
from icd_assets.tasks import TASKS

_EARLIER = "earlier:"
_CHECKPOINTS = (".pt", ".ckpt", ".safetensors")


@dataclass(frozen=True)
class Named:
    """A side: ``path`` is set of one that is no cell; ``replaced`` of an earlier evaluation of the experiment."""

    text: str
    path: Path | None = None
    experiment: Experiment | None = None
    replaced: Earlier | None = None


def all_paths(words: Sequence[str], here: Path) -> bool:
    """Whether no word needs a home."""
    return all(_is_path(word, here) for word in words)


def named_sides(words: Sequence[str], session: Session, here: Path) -> Iterator[Named]:
    """The sides in order; relative paths start at ``here``.

    A cell is a key, or three or six words; ``@NAME`` after it is its experiment of this name or folder. After a
    cell, ``NAME`` alone is an experiment of it, and ``earlier:1`` its evaluation before the last, as
    ``earlier:2026-11-26`` is the one of that day. All else is a path.
    """
    rest, last = list(words), None
    while rest:
        count, one = _first(rest, session, here, last)
        last = one if one.experiment is not None and one.replaced is None else last
        yield one
        rest = rest[count:]


def _first(rest: Sequence[str], session: Session, here: Path, last: Named | None) -> tuple[int, Named]:
    word = rest[0]
    if (found := _cell(rest, session)) is not None:
        count, cell, name = found
        text = " ".join(rest[:count])
        return count, Named(text, experiment=_evaluated(_experiment(session, cell, name), text, session))
    if _is_path(word, here):
        path = Path(os.path.normpath(here / word))  # not through links: the results root is as it is named
        if not path.exists():
            raise UserError(f"{path} does not exist; name a cell, a folder or a file.")
        return 1, Named(word, path=path)
    if last is not None and (own := last.experiment) is not None:
        if word.startswith(_EARLIER):
            return 1, Named(f"{last.text} {word}", experiment=own, replaced=_replaced(own, word))
        if word in _names(own) or len(rest) < 3:
            one = _experiment(session, own.cell, word)
            return 1, Named(f"{last.text} {word}", experiment=_evaluated(one, f"{own.cell}@{word}", session))
    count = len(split_cells(rest, first_only=True)[0])
    session.cell(rest[:count])  # which says what is wrong with it
    raise UserError(f"{' '.join(rest[:count])} names no cell and no file.")


def _cell(rest: Sequence[str], session: Session) -> tuple[int, Cell, str | None] | None:
    """(number of words, cell, name of the experiment), where the first words are a cell."""
    count = 1 if "|" in rest[0] else 6 if rest[0] in TASKS else 3
    if len(rest) < count:
        return None
    end, _, name = rest[count - 1].partition("@")
    try:
        return count, session.cell([*rest[: count - 1], end]), name or None
    except UserError:
        if "|" in rest[0]:
            raise
        return None


def _is_path(word: str, here: Path) -> bool:
    """What is there, or has a name that only a file has."""
    if "|" in word or word.startswith(_EARLIER):
        return False
    return (here / word).exists() or "/" in word or Path(word).suffix.lower() in (*FORMATS, *_CHECKPOINTS)


def _experiment(session: Session, cell: Cell, name: str | None) -> Experiment:
    """The cell's experiment that the settings mean, or the one of this name, or whose folder ends so."""
    base, _ = fitting(session.open(cell))
    if name is None:
        return base
    found = {one.suffix.removeprefix("_"): one for one in variants(base)}
    if name not in found:
        settings = assigned(base.settings, {"shared.name": name})
        one = Experiment(cell, settings, session.store, session.catalog, read_only=True)
        if (suffix := one.suffix.removeprefix("_")) not in found:
            listed = ", ".join(sorted(filter(None, found)))
            there = f"it has {listed}" if listed else "it has none but its own"
            raise UserError(f"{cell} has no experiment {name!r}; {there}: --name of train makes one.")
        name = suffix
    return found[name]


def _names(experiment: Experiment) -> set[str]:
    return {one.settings.shared.name or one.suffix.removeprefix("_") for one in variants(experiment)}


def _evaluated(experiment: Experiment, text: str, session: Session) -> Experiment:
    if experiment.manifest("evaluation") is not None:
        return experiment
    base, _ = fitting(session.open(experiment.cell))
    needed = "" if experiment.suffix == base.suffix else f" {flags(experiment, base)}"
    others = [one.suffix.removeprefix("_") for one in variants(base) if one.manifest("evaluation") is not None]
    there = f", or name {' or '.join(f'@{name}' for name in others if name)}" if any(others) else ""
    raise UserError(f"{text} is not evaluated; run icd-assets train {cell_words(experiment.cell)}{needed}{there}.")


def _replaced(experiment: Experiment, word: str) -> Earlier:
    """``earlier:1``: the last that was replaced; ``earlier:2026-11-26T13``: the one that was made then."""
    found, which = earlier(experiment.paths.evaluation), word.removeprefix(_EARLIER)
    if not found:
        raise UserError(
            f"no evaluation of {experiment.cell} was replaced yet; when one is, it stays as {_EARLIER}1."
        )
    if re.fullmatch("[0-9]{1,3}", which) and 0 < int(which) <= len(found):
        return found[int(which) - 1]
    fitting_ones = [one for one in found if which and len(which) > 3 and one.manifest.created_at.startswith(which)]
    if len(fitting_ones) != 1:
        listed = ", ".join(f"{_EARLIER}{at} ({one.manifest.created_at})" for at, one in enumerate(found, 1))
        raise UserError(f"{word} is not one evaluation of {experiment.cell}; there are {listed}.")
    return fitting_ones[0]
