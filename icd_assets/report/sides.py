"""What is compared: an evaluation here, an earlier one, a checkpoint's, or anybody's file of answers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from icd_assets.datasets.table_file import FORMATS, TableFile
from icd_assets.errors import UserError
from icd_assets.evaluation.earlier import RECORD
from icd_assets.evaluation.predictions import NAME, read_predictions
from icd_assets.evaluation.report import Comparison
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.recipes import STAGES, stage_name
from icd_assets.lineage import Records
from icd_assets.store.manifest import Manifest
from icd_assets.store.names import manifest_in

if TYPE_CHECKING:
    from icd_assets.report.gallery import Row

# What anybody's answers may hold besides; the rest of a row is that of the side that has it.
_OWN = ("question_id", "answer", "raw", "score", "demonstrations")


@dataclass(frozen=True, slots=True)
class Side:
    """The answers of one strategy at one number of shots.

    ``rows``: by question id as text, since others' files write numbers as texts. ``metric`` and ``manifest`` are
    those of the evaluation, None of a file that is nobody's we know.
    """

    source: str
    strategy: str
    shots: int | None
    rows: Mapping[str, Row]
    metric: str | None = None
    manifest: Manifest | None = None

    @property
    def asked(self) -> dict[str, Any]:
        """What decides how the model answers, besides the demonstrations."""
        if self.manifest is None:
            return {}
        spec = self.manifest.spec
        digests = {name: spec.digests[name] for name in ("vlm",) if name in spec.digests}
        return {**digests, **{name: spec.config.get(name) for name in ("generation",)}, **_prompt(spec.config)}


def _prompt(config: Mapping[str, Any]) -> dict[str, Any]:
    """The model's settings, but for those that decide its pace alone."""
    return {f"vlm.{name}": value for name, value in config.get("vlm", {}).items() if name != "batch_size"}


def of_cell(experiment: Experiment, strategy: str | None, shots: int | None) -> Side:
    """The evaluation of a cell's experiment that is there now."""
    manifest = experiment.store.require(experiment.manifest_path("evaluation"), "evaluation")
    source = str(experiment.cell) + ("" if experiment.paths.name is None else f" {experiment.paths.name}")
    return _of_folder(experiment.paths.evaluation, manifest, source, strategy, shots)


def of_path(path: Path, records: Records, strategy: str | None, shots: int | None) -> Side:
    """What a path names: an evaluation's folder, a table of predictions, a checkpoint, or answers of others."""
    if path.is_dir() and (path / NAME).is_file():
        return _of_folder(path, _manifest(path), str(path), strategy, shots)
    if path.name == NAME and path.is_file():
        return _of_folder(path.parent, _manifest(path.parent), str(path), strategy, shots)
    if path.is_file() and path.suffix.lower() in FORMATS:
        return _of_table(path, strategy, shots)
    if path.is_file() or (path / "config.json").is_file():
        return _of_checkpoint(path, records, strategy, shots)
    raise UserError(
        f"{path} is neither an evaluation's folder, nor a table of answers, nor a checkpoint; name one, or a cell."
    )


def _manifest(folder: Path) -> Manifest | None:
    for path in (manifest_in(folder, "evaluation"), folder / RECORD):
        if path.is_file():
            try:
                return Manifest.model_validate_json(path.read_bytes())
            except (ValidationError, OSError, RecursionError):
                raise UserError(
                    f"{path} is damaged; compare the file {NAME} beside it from another folder."
                ) from None
    return None


def _of_folder(
    folder: Path, manifest: Manifest | None, source: str, strategy: str | None, shots: int | None
) -> Side:
    if not (folder / NAME).is_file():
        raise UserError(f"{folder} has no {NAME}: its evaluation is of an older form; run icd-assets train again.")
    summary = folder / "comparison.json"
    comparison = Comparison.read(summary) if summary.is_file() else None
    chosen = strategy or (comparison.recommended if comparison is not None else None)
    if shots is None and comparison is not None:
        shots = comparison.compare_shots
    rows = read_predictions(folder / NAME).to_pylist()
    metric = comparison.metric if comparison is not None else None
    return _chosen(rows, source, folder / NAME, chosen, shots, metric, manifest)


def _chosen(
    rows: Iterable[Row],
    source: str,
    path: Path,
    strategy: str | None,
    shots: int | None,
    metric: str | None,
    manifest: Manifest | None,
) -> Side:
    """The rows of one strategy at one number of shots, out of a table of several."""
    kinds: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        kinds.setdefault((row["strategy"], row["shots"]), []).append(row)
    names = list(dict.fromkeys(name for name, _ in kinds))
    if strategy is None and len(names) > 1:
        raise UserError(f"{path} has the answers of {', '.join(names)}; say which with --strategy.")
    strategy = strategy or names[0]
    counts = [count for name, count in kinds if name == strategy]
    if not counts:
        raise UserError(f"{path} has no strategy {strategy!r:.80}; it has {', '.join(names)}.")
    if shots not in counts and counts != [0] and (shots is not None or len(counts) > 1):
        listed = ", ".join(map(str, sorted(counts)))
        raise UserError(f"{path} has {strategy} at {listed} shots; say which with --shots.")
    at = shots if shots in counts else counts[0]
    return Side(source, strategy, at, by_id(kinds[strategy, at], path), metric, manifest)


def by_id(rows: Iterable[Row], path: Path) -> dict[str, Row]:
    found: dict[str, Row] = {}
    for row in rows:
        if (key := str(row["question_id"])) in found:
            raise UserError(f"{path} answers question {key:.40} twice; leave one of the two.")
        found[key] = row
    if not found:
        raise UserError(f"{path} has no answers.")
    return found


def _of_table(path: Path, strategy: str | None, shots: int | None) -> Side:
    """Answers of others: ``question_id`` with ``answer``, ``score`` or both, one record a question."""
    rows = [_record(values, at) for at, values in TableFile(path=str(path)).rows()]
    if rows and all(isinstance(row.get("strategy"), str) and isinstance(row.get("shots"), int) for row in rows):
        return _chosen(rows, str(path), path, strategy, shots, None, None)
    return Side(str(path), strategy or path.stem, shots, by_id(rows, path))


def _record(values: Mapping[Any, Any], at: str) -> Row:
    id, answer, score = (values.get(name) for name in ("question_id", "answer", "score"))
    if isinstance(id, bool) or not isinstance(id, int | str):
        raise UserError(f"{at} has no question_id; give each record one, a number or a text.")
    if isinstance(score, str):
        try:
            score = float(score)
        except ValueError:
            raise UserError(f"{at}: the score {score!r:.40} is no number.") from None
    if score is not None and (isinstance(score, bool) or not _finite(score)):
        raise UserError(f"{at}: the score {score!r:.40} is no number.")
    if score is None and not isinstance(answer, str):
        raise UserError(f"{at} has neither an answer, a text, nor a score, a number; give one of the two.")
    row: dict[str, Any] = {name: values[name] for name in ("strategy", "shots", "raw") if name in values}
    return row | {"question_id": id, "answer": answer, "score": None if score is None else float(score)}


def _finite(score: Any) -> bool:
    try:
        return isinstance(score, int | float) and math.isfinite(score)
    except OverflowError:  # a whole number beyond every float
        return False


def _of_checkpoint(path: Path, records: Records, strategy: str | None, shots: int | None) -> Side:
    """The evaluation that read a checkpoint, and the strategy that it is there."""
    file = path / "model.safetensors" if path.is_dir() else path
    made = records.holding(file, records.store.digests.file(file))
    if made is None:
        raise UserError(f"{path} is no checkpoint that was made or adopted here; evaluate it, and compare that.")
    for place, evaluation in records.live.items():
        spec = evaluation.spec
        if spec.asset == "evaluation" and spec.digests.get(made.spec.asset) == made.data_version:
            name = strategy or _strategy(made, evaluation)
            return _of_folder((records.store.root / place).parent, evaluation, str(path), name, shots)
    raise UserError(f"{path} was not evaluated; run icd-assets train for {made.cell}, and compare it then.")


def _strategy(made: Manifest, evaluation: Manifest) -> str:
    asset = made.spec.asset
    if asset in STAGES:
        return stage_name(asset, str(made.facts["architecture"]))
    names = {"v2_checkpoint": "v2 (SFT)", "rce_checkpoints": "RCE"}
    return names.get(asset) or str(evaluation.fact("recommended"))


def completed(sides: Sequence[Side], experiment: Experiment | None) -> list[Side]:
    """The sides, each row with what a page shows of a question; scores of bare answers by the cell's metric.

    Questions and gold answers are those of the first side that knows them.
    """
    known: dict[str, Row] = {}
    for side in sides:
        for key, row in side.rows.items():
            if row.get("answers") is not None:
                known.setdefault(key, row)
    return [_completed(side, known, experiment) for side in sides]


def _completed(side: Side, known: Mapping[str, Row], experiment: Experiment | None) -> Side:
    lacking = [key for key, row in side.rows.items() if row["score"] is None]
    if unknown := [key for key in lacking if key not in known]:
        raise UserError(
            f"{side.source} has no score of question {unknown[0]:.40}, and no side has its gold answers; give "
            "scores, or compare with an evaluation of these questions."
        )
    scores = dict(zip(lacking, _scores([side.rows[key] for key in lacking], known, experiment), strict=True))
    rows = {key: _row(row, known.get(key), scores.get(key)) for key, row in side.rows.items()}
    return replace(side, rows=rows)


def _scores(rows: Sequence[Row], known: Mapping[str, Row], experiment: Experiment | None) -> list[float]:
    if not rows:
        return []
    from icd_assets.tasks import TASKS

    metric = (experiment.task if experiment is not None else TASKS["vqa"]).metric(())
    answers = [metric.clean(row["answer"]) for row in rows]
    return list(metric.scores(answers, [tuple(known[str(row["question_id"])]["answers"]) for row in rows]))


_UNKNOWN: dict[str, Any] = {
    "question": "",
    "gold": "",
    "answers": [],
    "question_type": "",
    "answer_type": "",
    "demonstrations": [],
    "answer": "",
}


def _row(row: Row, known: Row | None, score: float | None) -> Row:
    base = known or {**_UNKNOWN, "image_id": row["question_id"], "question_id": row["question_id"]}
    own = {name: row[name] for name in _OWN if row.get(name) is not None} | {"question_id": base["question_id"]}
    if row.get("answers") is not None:
        own = dict(row)
    found = {**_UNKNOWN, **base, "demonstrations": [], "answer": "", "raw": row.get("answer") or "", **own}
    return found if score is None else {**found, "score": score}
