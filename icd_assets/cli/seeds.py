"""``--seeds``: one cell under several seeds, each made as ``train`` makes one, and the table over them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.table import Table

from icd_assets.cli.cell_arguments import CellArguments
from icd_assets.cli.checked import require_no_problem
from icd_assets.cli.json_output import print_json
from icd_assets.cli.plan_document import SCHEMA, plan_document
from icd_assets.cli.screen import console, headed
from icd_assets.cli.summary import difference_cell, digits_shown, fitted, path_shown, reference_headers, score_cell
from icd_assets.errors import UserError
from icd_assets.evaluation.predictions import NAME
from icd_assets.evaluation.seeds import SeedComparison, over_seeds
from icd_assets.evaluation.verdict import footnotes, verdict
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.plan import Plan, require_assets
from icd_assets.experiment.seeds import of_seeds
from icd_assets.experiment.settings import Settings


def run_seeds(
    arguments: CellArguments,
    settings: Settings,
    seeds: Sequence[int],
    *,
    dry_run: bool = False,
    as_json: bool = False,
    to: str | None = None,
    force: tuple[str, ...] = (),
) -> None:
    """Make one cell under each seed, one after the other, then print their table.

    What is complete is not made again, so an interrupted command goes on where it was."""
    from icd_assets.cli.train import make

    require_assets(to, force)
    base = arguments.open(settings)
    found = of_seeds(base, seeds)
    if as_json:
        plans = {seed: Plan.of(one, to=to, force=force).as_read_only() for seed, one in found.items()}
        documents = {seed: plan_document(plan) for seed, plan in plans.items()}
        print_json(SCHEMA, {"seeds": {str(seed): document for seed, (document, _) in documents.items()}})
        require_no_problem([finding for _, findings in documents.values() for finding in findings])
        return
    evaluates = True
    for seed in _in_order(found, base):
        if not dry_run:  # Dagster's last event of the cell will be of another root than the results'
            base.store.mark_unrecorded("seeds", base.cell.key)
        console.print(f"seed {seed}", style="bold")
        evaluates &= make(found[seed], arguments, dry_run=dry_run, to=to, force=force).evaluates
        console.print()
    if evaluates and not dry_run:
        show_seeds(found)


def _in_order(found: Mapping[int, Experiment], base: Experiment) -> list[int]:
    """The seed that lies in the results root last: what Dagster shows of the cell is then what is there."""
    return sorted(found, key=lambda seed: found[seed].store.root == base.store.root)


def read_evaluations(found: Mapping[int, Experiment]) -> tuple[SeedComparison, dict[int, Path]]:
    """The comparison over seeds, and each seed's ``comparison.json``."""
    files = {}
    for seed, one in found.items():
        manifest = one.manifest("evaluation")
        if manifest is None:
            given = ",".join(map(str, found))
            raise UserError(
                f"{one.cell} is not evaluated under seed {seed}; run icd-assets train for it with --seeds {given}."
            )
        by_name = {path.name: path for path in one.store.files(manifest)}
        files[seed] = (by_name["comparison.json"], by_name[NAME])
    return over_seeds(files), {seed: comparison for seed, (comparison, _) in files.items()}


def show_seeds(found: Mapping[int, Experiment]) -> None:
    """Scores of all seeds, and differences averaged over them with the seeds' range below each."""
    over, files = read_evaluations(found)
    average, digits = over.average, digits_shown()
    console.print(headed(next(iter(found.values())).cell.key, f": {over.title}"))
    scores = Table(
        "strategy", f"mean {average.label}", *(f"seed {n}" for n in over.seeds), "sd", box=None, pad_edge=False
    )
    for row in average.main:
        values = over.scores(row.strategy)
        each = [f"{100 * value:.1f}" for value in values]
        scores.add_row(fitted(average.name(row), digits), score_cell(row.score, digits), *each, _deviation(values))
    console.print(scores)
    gains = {(row.strategy, row.reference): row for row in average.family}
    table = Table("mean difference", *reference_headers(average), box=None, pad_edge=False)
    for strategy in dict.fromkeys(row.strategy for row in average.family):
        rows = [gains.get((strategy, name)) for name in average.references]
        table.add_row(fitted(strategy, digits), *(difference_cell(row, digits) for row in rows))
        table.add_row("  seeds", *("" if row is None else _range(over.gains(row)) for row in rows))
    console.print()
    console.print(table)
    console.print("a…b: over questions, for these seeds; below it the seeds' least to greatest, and their sd")
    for sentence in [*footnotes(average), *verdict(average)]:
        console.print(sentence, style="bold" if sentence.startswith("Warning") else None)
    listed = ", ".join(f"{seed}: {path_shown(path.parent)}" for seed, path in files.items())
    console.print(f"each seed's own tables: {listed}")


def _range(values: Sequence[float]) -> str:
    deviation = f", {_deviation(values)}" if len(values) > 1 else ""
    return f"{100 * min(values):+.1f}…{100 * max(values):+.1f}{deviation}"


def _deviation(values: Sequence[float]) -> str:
    return f"{100 * statistics.stdev(values):.1f}" if len(values) > 1 else "–"
