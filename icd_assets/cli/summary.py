"""The opening and the closing of a training command: what was asked for, and what is there now."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from icd_assets.cli.cell_arguments import CellArguments
from icd_assets.cli.screen import console, headed, screen_width
from icd_assets.errors import UserError
from icd_assets.evaluation.report import Comparison, DifferenceRow, Interval
from icd_assets.evaluation.tables import by_strategy, starred
from icd_assets.evaluation.verdict import footnotes, verdict
from icd_assets.experiment.cell import Cell
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.plan_notes import other_epochs
from icd_assets.experiment.recipes import STAGES, no_v2_format, recipe_of, stages
from icd_assets.lever_plus.inference import found_instead, taken_by_inference
from icd_assets.pools.config import SAMPLERS

_KINDS_SHOWN = 4  # more do not fit a terminal
_ROOM_FOR_DIGITS = 92  # columns that the table takes with one digit after each point


def show_configuration(experiment: Experiment, arguments: CellArguments, force: Collection[str] = ()) -> None:
    """The resolved configuration, as train_v3.sh prints it. ``force``: what is trained again although adopted."""
    cell, shared = experiment.cell, experiment.settings.shared
    lines = [
        ("task", experiment.dataset.task),
        ("dataset", f"{arguments.dataset} → {cell.dataset}"),
        ("sampler", f"{arguments.sampler} → {cell.sampler}"),
        ("model", f"{arguments.model} → {cell.model}"),
        ("GPU", arguments.gpu_id),
        ("recipe", _recipe(experiment, force)),
        *([("name", f"{shared.name} → {experiment.paths.v3_folder.name}")] if shared.name is not None else []),
        ("results", str(experiment.store.root)),
    ]
    for name, value in lines:
        console.print(f"{name:>8}  {value}")
    console.print()


def _recipe(experiment: Experiment, force: Collection[str]) -> str:
    """The recipe, and what it will train."""
    if (recipe := recipe_of(experiment)) != "beams":
        names = " → ".join(STAGES[asset] for asset in stages(experiment))
        reward = f", reward {experiment.reward.mode}" if recipe == "rl" else ""
        return f"{recipe}; {experiment.settings.shared.architecture} selector: {names}{reward}"
    grpo = experiment.config("grpo_checkpoints").grpo_epochs > 0
    mode = "RCE, then GRPO" if grpo else "RCE only"
    epochs = ", ".join(_epochs(experiment, phase, force) for phase in (("rce", "grpo") if grpo else ("rce",)))
    return f"beams; {mode}; {epochs}, reward {experiment.reward.mode}"


def _epochs(experiment: Experiment, phase: str, force: Collection[str]) -> str:
    """How many are trained, or were adopted."""
    asset = f"{phase}_checkpoints"
    there = experiment.manifest(asset)
    if there is not None and (there.origin != "adopted" or asset in force):
        there = None
    count = there.facts["epochs"] if there is not None else getattr(experiment.config(asset), f"{phase}_epochs")
    return f"{count} {'adopted ' if there is not None else ''}{phase.upper()} epoch{'' if count == 1 else 's'}"


def show_summary(experiment: Experiment) -> None:
    """Where the checkpoints are, which is recommended and why, the table, and how to see it all."""
    if own := stages(experiment):
        _show_selectors(experiment, own)
    else:
        _show_checkpoints(experiment)
    console.print()
    show_evaluation(experiment)
    show_ui()


def _show_selectors(experiment: Experiment, own: Sequence[str]) -> None:
    """The folders of a recipe of labels, the last recommended."""
    console.print(headed("\nselectors"))
    for asset in own:
        facts = experiment.facts(asset)
        console.print(f"  {path_shown(experiment.paths.selector(asset))}")
        console.print(f"    {facts['prompts']:,} prompts; {kept_in_words(facts)}")
    console.print(headed("recommended", "  "), end="")
    console.print(f"{own[-1]}, the last of the recipe {recipe_of(experiment)}")
    if (exported := experiment.manifest("v2format_checkpoint")) is not None and no_v2_format(experiment) is None:
        console.print(headed("v2 format", "    "), end="")
        console.print(path_shown(experiment.store.resolve(exported.files[0])))
    else:
        console.print(f"note: {no_v2_format(experiment)}")


def kept_in_words(facts: Mapping[str, Any]) -> str:
    """Which epoch of a training stayed, and why."""
    which = f"epoch {facts['best_epoch']} of {facts['epochs']} kept"
    match facts["kept_by"]:
        case "greedy_reward":
            return f"{which}: its greedy choices earn the most, {facts['val_greedy_reward']:.3f}, held-out queries"
        case "expected_reward":
            return f"{which}: the highest expected reward, {facts['val_expected_reward']:.3f}, held-out queries"
        case _:
            return f"{which}: the last"


def _show_checkpoints(experiment: Experiment) -> None:
    """Lever-Plus' files, and which of them its inference takes."""
    store = experiment.store
    v2format = store.require(experiment.manifest_path("v2format_checkpoint"), "v2format_checkpoint")
    phase = v2format.facts["phase"]
    console.print(headed("\ncheckpoints"))
    for asset in ("v2_checkpoint", "rce_checkpoints", "grpo_checkpoints"):
        manifest = experiment.manifest(asset)
        if manifest is None or (asset == "grpo_checkpoints" and phase == "rce"):
            continue
        for record in (record for record in manifest.files if record.pruned is None):
            console.print(f"  {path_shown(store.resolve(record))}")
    why = "the last GRPO epoch" if phase == "grpo" else "the last RCE epoch"
    if v2format.spec.config["epoch"] == "best":
        why = f"the best {phase.upper()} epoch on held-out RL queries"
    console.print(headed("recommended", f"  {v2format.facts['source']}: {why}"))
    recommended = store.resolve(v2format.files[0])
    console.print(headed("v2 format", "    "), end="")
    console.print(path_shown(recommended))
    if (instead := found_instead(taken_by_inference(experiment), recommended)) is not None:
        console.print(f"             {instead}; for this one:")
        given = shlex.quote(path_shown(recommended))
        console.print(f"             export LEVER_LM_CHECKPOINT_PATH={given}")
    for sentence in other_epochs(experiment):
        console.print(f"note: {sentence}")


def show_cells(experiments: Mapping[str, Experiment]) -> None:
    """One table of several cells, a column for each, and how to see more of each."""
    found = {name: _comparison(experiment)[1] for name, experiment in experiments.items()}
    digits = digits_shown()
    table = Table("strategy", *found, "prompts", box=None, pad_edge=False)
    for rows in by_strategy(found).values():
        first, *_ = rows.values()
        prices = dict.fromkeys(f"{row.prompts:,}" for row in rows.values() if row.prompts is not None)
        scores = (score_cell(rows[cell].score if cell in rows else None, digits) for cell in found)
        table.add_row(fitted(next(iter(found.values())).name(first), digits), *scores, " / ".join(prices))
    console.print(table)
    for name, comparison in found.items():
        asked = f"{comparison.queries}, {comparison.compare_shots} shots; a…b: {comparison.intervals}"
        console.print(headed(f"\n{name}", f": {asked}"))
        _say(verdict(comparison))
        words = cell_words(experiments[name].cell)
        console.print(f"differences, kinds, files:  icd-assets evaluation {words}")
    console.print("\nprompts: what the labels behind a selector asked the model")
    _say([sentence for sentence in footnotes(next(iter(found.values()))) if sentence.startswith("†")])


def show_ui() -> None:
    """How the UI is opened."""
    console.print("\nsee runs, lineage and curves in the UI:  make ui   (or: icd-assets ui)")


def show_evaluation(experiment: Experiment) -> None:
    """The main table of one cell, and where the rest of it is."""
    path, comparison = _comparison(experiment)
    shots = comparison.compare_shots
    console.print(headed(str(experiment.cell), f": validation split, {comparison.queries}, {shots} shots"))
    show_table(comparison)
    _say(verdict(comparison))
    console.print(f"all shots: {path_shown(path.with_suffix('.md'))}   as JSON: {path_shown(path)}")


def _comparison(experiment: Experiment) -> tuple[Path, Comparison]:
    """The table of a cell, and its file."""
    manifest = experiment.manifest("evaluation")
    if manifest is None:
        raise UserError(f"{experiment.cell} is not evaluated yet; run icd-assets train for it.")
    path = experiment.store.files(manifest)[0]
    comparison = Comparison.read(path)
    recommended = comparison.recommended or manifest.facts["recommended"]  # a file of before does not say it
    return path, comparison.model_copy(update={"recommended": recommended})


def _say(sentences: Sequence[str]) -> None:
    for sentence in sentences:
        console.print(sentence, style="bold" if sentence.startswith("Warning") else None)


def show_table(comparison: Comparison) -> None:
    """The scores and the differences of the main table, with what its marks mean."""
    references = comparison.references
    gains = {(row.strategy, row.reference): row for row in comparison.family}
    priced = ["prompts"] if any(row.prompts is not None for row in comparison.main) else []
    table = Table("strategy", comparison.label, *reference_headers(comparison), *priced, box=None, pad_edge=False)
    digits = digits_shown()
    for row in comparison.main:
        cells = [difference_cell(gains.get((row.strategy, name)), digits) for name in references]
        price = ["" if row.prompts is None else f"{row.prompts:,}"] if priced else []
        table.add_row(fitted(comparison.name(row), digits), score_cell(row.score, digits), *cells, *price)
    console.print(table)
    note = "; similarity: image+text" if "image+text similarity" in references else ""
    console.print(f"a…b: {comparison.intervals}{note}")
    for sentence in footnotes(comparison):
        console.print(sentence)
    if 0 < len({row.kind for row in comparison.kinds}) <= _KINDS_SHOWN:
        header, lines = _by_kind(comparison, digits)
        kinds = Table(*header, box=None, pad_edge=False)
        for line in lines:
            kinds.add_row(*line)
        console.print()
        console.print(kinds)


def digits_shown() -> int:
    """After the point of each bound: none where the terminal is narrow."""
    return 0 if (screen_width() or _ROOM_FOR_DIGITS) < _ROOM_FOR_DIGITS else 1


def reference_headers(comparison: Comparison) -> list[str]:
    return [f"− {_short(name)}" for name in comparison.references]


def _short(name: str) -> str:
    """``similarity``, ``SFT``, ``singles``: what tells a reference from the others."""
    inside = re.fullmatch(r"\S+ \((.+)\)", name)
    return inside[1] if inside is not None else name.removeprefix("image+text ")


def _by_kind(comparison: Comparison, digits: int) -> tuple[list[str], list[list[str]]]:
    header, _ = comparison.kind_table()
    found = {(row.strategy, row.kind): row.score for row in comparison.kinds}
    kinds = dict.fromkeys(row.kind for row in comparison.kinds)
    lines = [
        [
            fitted(comparison.name(row), digits),
            *(score_cell(found.get((row.strategy, kind)), digits) for kind in kinds),
        ]
        for row in comparison.main
    ]
    return header, lines


def fitted(name: str, digits: int) -> str:
    """A strategy's name, where room is short without what the lines below the table say."""
    if digits:
        return name
    return name.removeprefix("image+text ").replace(", shuffled labels", ", shuffled").replace(" (oracle)", "")


def difference_cell(row: DifferenceRow | None, digits: int) -> str:
    """With a star, if it can be told from 0: ``+36.0* 30.2…41.9``, or where room is short ``+36.0*30…42``."""
    if row is None:
        return ""
    value, _, bounds = score_cell(row.difference, digits, "+").partition(" ")
    return f"{value}{starred(row) or ' '}{bounds}" if digits == 0 else f"{value}{starred(row)} {bounds}"


def score_cell(found: Interval | None, digits: int, sign: str = "") -> str:
    """``69.2 63…75``: the value, and its interval, rounded outwards where there is no room for more digits."""
    if found is None:
        return ""
    scale = 10**digits
    low, high = (
        math.floor(found.low * 100 * scale + 1e-6) / scale,
        math.ceil(found.high * 100 * scale - 1e-6) / scale,
    )
    return f"{100 * found.value:{sign}.1f} {low:.{digits}f}…{high:.{digits}f}"


def cell_words(cell: Cell) -> str:
    """As a user types it."""
    return f"{cell.dataset} {SAMPLERS[cell.sampler].alias} {cell.model}"


def path_shown(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
