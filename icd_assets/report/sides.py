"""What is compared: an evaluation here, an earlier one, a checkpoint's, or anybody's file of answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from icd_assets.errors import UserError
from icd_assets.evaluation.earlier import RECORD, Earlier, altered
from icd_assets.evaluation.predictions import COLUMNS, NAME, folder_of, is_table, read_predictions
from icd_assets.evaluation.report import Comparison
from icd_assets.experiment.experiment import Experiment
from icd_assets.lineage import Records
from icd_assets.report.answers_file import is_answers_file, read_answers
from icd_assets.report.checkpoint import evaluated
from icd_assets.store.manifest import Manifest, read_manifest
from icd_assets.store.names import SEEDS, manifest_in
from icd_assets.store.store import Store

if TYPE_CHECKING:
    from icd_assets.datasets.vqa import VqaItem
    from icd_assets.report.gallery import Row
    from icd_assets.scoring.metric import Metric

# What anybody's answers may hold besides; the rest of a row is that of the side that has it.
_OWN = ("question_id", "answer", "raw", "score", "demonstrations")


@dataclass(frozen=True, slots=True)
class Side:
    """The answers of one strategy at one number of shots.

    ``rows``: by question id as text, since others' files write numbers as texts. ``metric`` and ``manifest`` are
    those of the evaluation, None of a file that is nobody's we know; ``records`` those of its results root.
    """

    source: str
    strategy: str
    shots: int | None
    rows: Mapping[str, Row]
    metric: str | None = None
    manifest: Manifest | None = None
    records: Records | None = None

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
    source = str(experiment.cell) + (f"@{experiment.suffix.removeprefix('_')}" if experiment.suffix else "")
    folder = folder_of(manifest, experiment.paths.evaluation, experiment.store.root)
    return _of_folder(folder, manifest, source, strategy, shots)


def of_path(path: Path, records: Records, strategy: str | None, shots: int | None) -> Side:
    """What a path names: an evaluation's folder, a table of predictions, a checkpoint, or answers of others."""
    if path.name == NAME and path.is_file() and (path.parent / "comparison.json").is_file():
        path = path.parent
    if path.is_file() and is_answers_file(path):
        return _of_table(path, strategy, shots)
    own = _records_of(path, records)
    if (path / NAME).is_file():
        found = _of_folder(path, _manifest(path), str(path), strategy, shots)
    elif path.is_file() or (path / "config.json").is_file():
        folder, manifest, name = evaluated(path, own)
        found = _of_folder(folder, manifest, str(path), strategy or name, shots)
    else:
        raise UserError(
            f"{path} is neither an evaluation's folder, nor a table of answers, nor a checkpoint; name one, or a "
            "cell."
        )
    return replace(found, records=own)


def _records_of(path: Path, records: Records) -> Records:
    """Those of the results root in which ``path`` lies: another seed's is in a folder of the first one's."""
    seeds = records.store.root / SEEDS
    if not path.is_relative_to(seeds) or path == seeds:
        return records
    return Records(Store(seeds / path.relative_to(seeds).parts[0]))


def of_earlier(one: Earlier, source: str, strategy: str | None, shots: int | None) -> Side:
    """An evaluation that was replaced."""
    return _of_folder(one.folder, one.manifest, source, strategy, shots)


def _manifest(folder: Path) -> Manifest | None:
    for path in (manifest_in(folder, "evaluation"), folder / RECORD):
        if path.is_file():
            try:
                return read_manifest(path)
            except (OSError, ValueError):
                raise UserError(
                    f"{path} is no record of an evaluation; copy {NAME} under another name to compare it alone."
                ) from None
    return None


def _of_folder(
    folder: Path, manifest: Manifest | None, source: str, strategy: str | None, shots: int | None
) -> Side:
    if not (folder / NAME).is_file():
        raise UserError(f"{folder} has no {NAME}: its evaluation is of an older form; run icd-assets train again.")
    if manifest is not None and (problem := altered(folder, manifest)) is not None:
        raise UserError(f"{problem}; evaluate again, or copy {NAME} under another name to compare it as it is.")
    summary = folder / "comparison.json"
    comparison = Comparison.read(summary) if summary.is_file() else None
    chosen = strategy or (comparison.recommended if comparison is not None else None)
    if shots is None and comparison is not None:
        shots = comparison.compare_shots
    rows = read_predictions(folder / NAME, COLUMNS).to_pylist()
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
    """Our own table under any name, or answers of others."""
    if is_table(path):
        return _chosen(read_predictions(path, COLUMNS).to_pylist(), str(path), path, strategy, shots, None, None)
    rows = read_answers(path)
    if rows and all("strategy" in row and "shots" in row for row in rows):
        return _chosen(rows, str(path), path, strategy, shots, None, None)
    return Side(str(path), strategy or path.stem, shots, by_id(rows, path))


def completed(sides: Sequence[Side], experiment: Experiment | None) -> list[Side]:
    """The sides, each row with what a page shows of a question; scores of bare answers by the metric.

    Questions, images and gold answers are those of the first side that knows them.
    """
    known: dict[str, Row] = {}
    images: dict[str, Any] = {}
    for side in sides:
        for key, row in side.rows.items():
            if row.get("answers") is not None:
                known.setdefault(key, row)
            if row.get("image_id") is not None:
                images.setdefault(key, row["image_id"])
    name = next((side.metric for side in sides if side.metric is not None), None)
    metric = partial(_metric, name, experiment, list(known.values()))
    return [_completed(side, known, images, metric) for side in sides]


def _metric(name: str | None, experiment: Experiment | None, corpus: Sequence[Row]) -> Metric:
    """The metric ``name``, as it was in the evaluation: words are weighed by its questions (:mod:`..tasks`)."""
    from icd_assets.tasks import TASKS

    own = [] if experiment is None else [experiment.task]
    task = next(task for task in (*own, *TASKS.values()) if name in (None, task.metric_name))
    items = [SimpleNamespace(answers=tuple(row["answers"])) for row in corpus]
    return task.metric(cast("list[VqaItem]", items))


def _completed(
    side: Side, known: Mapping[str, Row], images: Mapping[str, Any], metric: Callable[[], Metric]
) -> Side:
    lacking = [key for key, row in side.rows.items() if row["score"] is None]
    if unknown := [key for key in lacking if key not in known]:
        raise UserError(
            f"{side.source} has no score of question {unknown[0]:.40}, and no side has its gold answers; give "
            "scores, or compare with an evaluation of these questions."
        )
    scores: dict[str, float] = {}
    if lacking:
        judge = metric()
        answers = [judge.clean(side.rows[key]["answer"]) for key in lacking]
        golds = [tuple(known[key]["answers"]) for key in lacking]
        scores = dict(zip(lacking, judge.scores(answers, golds), strict=True))
    rows = {key: _row(row, known.get(key), images.get(key), scores.get(key)) for key, row in side.rows.items()}
    return replace(side, rows=rows)


_UNKNOWN: dict[str, Any] = {
    "question": "",
    "gold": "",
    "answers": [],
    "question_type": "",
    "answer_type": "",
    "demonstrations": [],
    "answer": "",
}


def _row(row: Row, known: Row | None, image: Any, score: float | None) -> Row:
    id = row["question_id"] if known is None else known["question_id"]
    base = known or {**_UNKNOWN, "image_id": id if image is None else image}
    own = {name: row[name] for name in _OWN if row.get(name) is not None} | {"question_id": id}
    if row.get("answers") is not None:
        own = dict(row)
    found = {**_UNKNOWN, **base, "demonstrations": [], "answer": "", "raw": row.get("answer") or "", **own}
    return found if score is None else {**found, "score": score}
