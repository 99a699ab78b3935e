"""The data behind a selector as a dataset of the hub: labels, RL data and predictions, a Parquet table each.

Pictures are never in it: a row names its own within the folder of its split. Equal artifacts give equal bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from icd_assets.errors import UserError
from icd_assets.evaluation.predictions import read_predictions
from icd_assets.share.card import NAME as CARD
from icd_assets.share.card import TASKS, UNNAMED
from icd_assets.share.markdown import Markdown, in_code, rendered, table, with_metadata
from icd_assets.share.trained import Trained

if TYPE_CHECKING:
    import pyarrow as pa

LABELS = ("single_labels", "step_labels")


class Part(NamedTuple):
    """One table: a config of the dataset."""

    name: str
    split: str
    about: str
    table: Callable[[Trained], pa.Table]

    @property
    def file(self) -> str:
        return f"{self.name}.parquet"


def write_dataset(folder: Path, trained: Trained, *, license: str | None, repo: str | None = None) -> None:
    """Fill ``folder``, which is there and empty, with a table of each kind of data of the cell, and a card."""
    import pyarrow.parquet as pq

    parts = list(_parts(trained))
    tables = {part: part.table(trained) for part in parts}
    for part, rows in tables.items():
        pq.write_table(rows, folder / part.file, compression="zstd")
    (folder / CARD).write_text(_card(trained, tables, license, repo), encoding="utf-8")


def _parts(trained: Trained) -> Iterator[Part]:
    if any(asset in trained.labels for asset in LABELS):
        about = "What each candidate is worth as the next demonstration, after those that were picked before it."
        yield Part("labels", "train", about, _label_table)
    if "rl_data" in trained.labels:
        about = "What the model answered after each tuple of demonstrations that was tried, and how it was judged."
        yield Part("rl_data", "train", about, _rl_table)
    about = "Every answer of the evaluation: what was asked, what was shown before it, what came back."
    yield Part("predictions", "validation", about, _prediction_table)


def _label_table(trained: Trained) -> pa.Table:
    import pyarrow as pa

    number, numbers = pa.int64(), pa.list_(pa.int64())
    kinds = {"row": number, "picked": numbers, "candidate": number, "value": pa.float64(), "base": pa.float64()}
    schema = pa.schema([("kind", pa.string()), *kinds.items()])
    rows = [row for asset in LABELS if asset in trained.labels for row in _labels(trained, asset)]
    return pa.Table.from_pylist(rows, schema)


def _labels(trained: Trained, asset: str) -> Iterator[dict[str, Any]]:
    from icd_assets.scoring.step_label_file import read_step_labels

    found = read_step_labels(trained.experiment.store.files(trained.labels[asset])[0])
    for row, steps in found.steps.items():
        pool = found.pools[row]
        for step in steps:
            picked = [pool[position] for position in step.prefix]
            for candidate, value in zip(pool, step.values, strict=True):
                if value is not None:
                    shared = {"kind": found.label, "row": row, "picked": picked, "base": step.base}
                    yield {**shared, "candidate": candidate, "value": value}


def _rl_table(trained: Trained) -> pa.Table:
    import pyarrow as pa

    text, number, real = pa.string(), pa.int64(), pa.float64()
    schema = pa.schema(
        {
            "row": number,
            "question_id": text,
            "image_id": number,
            "role": text,
            "question": text,
            "answers": pa.list_(text),
            "demonstrations": pa.list_(number),
            "source": text,
            "round": number,
            "raw": text,
            "answer": text,
            "score": real,
            "gold_probability": real,
            "relevance": real,
            "behavior_logprob": real,
            "similarity": real,
        }
    )
    return pa.Table.from_pylist(list(_rl_rows(trained)), schema)


def _rl_rows(trained: Trained) -> Iterator[dict[str, Any]]:
    from icd_assets.scoring.rl_file import read_rl_data

    for query in read_rl_data(trained.experiment.store.files(trained.labels["rl_data"])[0]).queries:
        for answered in (*query.pointers, *query.prefixes):
            yield {
                "row": query.row,
                "question_id": None if query.question_id is None else str(query.question_id),
                "image_id": query.image_id,
                "role": query.role,
                "question": query.question,
                "answers": query.gt_answers_raw,
                "demonstrations": query.rows_of(answered),
                "source": answered.source,
                "round": answered.round,
                "raw": answered.vqa_raw_generation,
                "answer": answered.vqa_pred_answer,
                "score": answered.score,
                "gold_probability": answered.vqa_gt_prob,
                "relevance": answered.vqa_rel_score,
                "behavior_logprob": answered.behavior_logprob,
                "similarity": answered.similarity_score,
            }


def _prediction_table(trained: Trained) -> pa.Table:
    """As the evaluation wrote it; a picture outside its split's folder loses its folders."""
    from icd_assets.evaluation.predictions import NAME

    files = trained.experiment.store.files(trained.evaluation)
    if (path := next((file for file in files if file.name == NAME), None)) is None:
        raise UserError(f"{trained.experiment.cell} was evaluated before there was {NAME}; run icd-assets train.")
    found = read_predictions(path)
    if not any(map(_is_path, found["image"].to_pylist())):
        shown = found["demonstrations"].combine_chunks().flatten()
        if not any(map(_is_path, shown.field("image").to_pylist())):
            return found
    rows = [_without_folders(row) for row in found.to_pylist()]
    return type(found).from_pylist(rows, found.schema)


def _is_path(image: str) -> bool:
    return Path(image).is_absolute()


def _without_folders(row: dict[str, Any]) -> dict[str, Any]:
    shown = [{**one, "image": _name(one["image"])} for one in row["demonstrations"]]
    return {**row, "image": _name(row["image"]), "demonstrations": shown}


def _name(image: str) -> str:
    return Path(image).name if _is_path(image) else image


_MEANINGS = {
    "kind": "what the value is: the likelihood of the true answer, or the score of the model's",
    "row": "the question's row in the train split, sorted by question_id",
    "picked": "rows of the demonstrations that were picked before, in prompt order",
    "candidate": "row of the demonstration that is judged, shown last",
    "value": "what it is worth, from 0 to 1",
    "base": "the same without it",
    "strategy": "what chose the demonstrations, as the card's table calls it",
    "shots": "how many were asked for",
    "question_id": "the dataset's own",
    "image_id": "the dataset's own",
    "image": "the picture's path in the images folder of its split",
    "question": "the question",
    "gold": "the answer that a demonstration of it would show",
    "answers": "what annotators answered",
    "question_type": "the dataset's own kind of question",
    "answer_type": "the dataset's own kind of answer",
    "role": "whether the question is to train or to validate; empty: the last by row validate",
    "demonstrations": "what was shown, in prompt order: rows of the train split, or the rows with their texts",
    "source": "what proposed the demonstrations",
    "round": "how often the data had been refreshed by a newer selector",
    "raw": "what the model wrote",
    "answer": "the answer within it",
    "score": "what the metric gives it",
    "gold_probability": "weighted sum of the gold answers' probabilities; empty: not asked for",
    "relevance": "similarity of the answer and a gold one, from 0 to 1",
    "behavior_logprob": "log-probability under the selector that proposed them; empty: none did",
    "similarity": "mean cosine similarity of the question and its demonstrations",
    "copied": "whether the answer is that of a demonstration",
    "gold_shown": "whether a demonstration shows a right answer",
}


def _card(trained: Trained, tables: Mapping[Part, pa.Table], license: str | None, repo: str | None) -> str:
    experiment, model = trained.experiment, trained.sources[0]
    body = rendered(
        "dataset_card.md",
        title=repo or f"Labels and predictions for {experiment.cell.dataset} and {model.name}",
        dataset=experiment.cell.dataset,
        model=model.hub or model.name,
        sampler=experiment.cell.sampler,
        license=license,
        parts=[
            {"name": part.name, "about": part.about, "rows": f"{rows.num_rows:,}", "schema": _schema(rows)}
            for part, rows in tables.items()
        ],
        versions=_versions(trained),
    )
    return with_metadata(_metadata(trained, list(tables), license), body)


def _schema(rows: pa.Table) -> Markdown:
    columns: list[Mapping[str, object]] = [
        {
            "column": Markdown(in_code(field.name)),
            "type": Markdown(in_code(field.type)),
            "meaning": _MEANINGS.get(field.name, ""),
        }
        for field in rows.schema
    ]
    return table({"column": "column", "type": "type", "meaning": "meaning"}, columns)


def _versions(trained: Trained) -> Markdown:
    made = {**trained.labels, "evaluation": trained.evaluation}
    rows: list[Mapping[str, object]] = [
        {
            "artifact": Markdown(in_code(asset)),
            "version": Markdown(in_code(one.data_version)),
            "made": one.created_at[:10],
        }
        for asset, one in made.items()
    ]
    return table({"artifact": "artifact", "version": "version", "made": "made"}, rows)


def _metadata(trained: Trained, parts: list[Part], license: str | None) -> str:
    from huggingface_hub import DatasetCardData

    data = DatasetCardData(
        license=license or "other",
        license_name=None if license else UNNAMED,
        task_categories=[TASKS[trained.experiment.dataset.task][0]],
        tags=["in-context-learning", "demonstration-selection", "icd_assets"],
        configs=[
            {"config_name": part.name, "data_files": [{"split": part.split, "path": part.file}]} for part in parts
        ],
    )
    return str(data.to_yaml())
