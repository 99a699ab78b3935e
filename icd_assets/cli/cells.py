"""The ways to write a cell, the same in every command: its key, its three words, or train_v3.sh's six."""

from __future__ import annotations

from collections.abc import Sequence

from icd_assets.errors import UserError
from icd_assets.experiment.catalog import Catalog
from icd_assets.experiment.cell import Cell
from icd_assets.tasks import TASKS

FORMS = (
    "name one cell: its key, such as 'demo|RandSampler/tiny_vl', dataset sampler model, or train's six arguments"
)


def split_cells(words: Sequence[str], *, first_only: bool = False) -> list[tuple[str, ...]]:
    """The words of several cells, cell by cell: a key is one word, a task begins six, a dataset three.

    >>> split_cells(["demo|RandSampler/tiny_vl", "okvqa", "mix_sampler", "tiny_vl"])
    [('demo|RandSampler/tiny_vl',), ('okvqa', 'mix_sampler', 'tiny_vl')]
    """
    found, rest = list[tuple[str, ...]](), list(words)
    while rest and not (first_only and found):
        count = 1 if "|" in rest[0] else 6 if rest[0] in TASKS else 3
        if len(rest) < count:
            raise UserError(f"{' '.join(rest)!r} is not a partition key, nor three or six words; {FORMS}.")
        found.append(tuple(rest[:count]))
        rest = rest[count:]
    return found


def cell_of(catalog: Catalog, words: Sequence[str]) -> Cell:
    """The one cell that the words mean."""
    cells = split_cells(words)
    if len(cells) != 1:
        raise UserError(f"{' '.join(words)!r} is not one cell; {FORMS}.")
    (one,) = cells
    if len(one) == 1:
        one = split_key(one[0])
    if len(one) == 3:
        return catalog.cell(*one)
    task, dataset, _, _, sampler, model = one
    cell = catalog.cell(dataset, sampler, model)
    if task != (of_dataset := catalog.datasets[cell.dataset].task):
        raise UserError(f"task {task!r} is not that of {cell.dataset}; write {of_dataset}.")
    return cell


def split_key(key: str) -> tuple[str, str, str]:
    """dataset, sampler and model of a key."""
    try:
        found = Cell.parse(key)
    except ValueError as error:
        raise UserError(f"{error}; write it like 'okvqa|RandSampler/Qwen2_5-VL-3B-Instruct'.") from None
    return found.dataset, found.sampler, found.model


def typed_dataset(words: Sequence[str]) -> str:
    """The dataset as it was typed: a name such as ``vqav2_local_sub`` implies a setting."""
    return words[0].partition("|")[0] if len(words) == 1 else words[1] if len(words) == 6 else words[0]
