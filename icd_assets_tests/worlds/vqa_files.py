"""Small official-form VQA files and items for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from icd_assets.datasets.vqa import VqaItem

IMAGES = "images/COCO_train2014_{image_id:012d}.jpg"


def annotation(question_id: int, image_id: int, answers: list[str], **extra: Any) -> dict[str, Any]:
    records = [{"answer_id": i, "answer": a, "answer_confidence": "yes"} for i, a in enumerate(answers, start=1)]
    return {
        "question_id": question_id,
        "image_id": image_id,
        "question_type": "what",
        "answer_type": "other",
        "answers": records,
        **extra,
    }


def write_files(
    folder: Path, questions: list[tuple[int, int, str]], annotations: list[dict[str, Any]]
) -> tuple[Path, Path]:
    """(questions, annotations) files; ``questions`` are (question_id, image_id, question)."""
    keys = ("question_id", "image_id", "question")
    listed = [dict(zip(keys, question, strict=True)) for question in questions]
    paths = folder / "questions.json", folder / "annotations.json"
    paths[0].write_text(json.dumps({"info": {}, "questions": listed}))
    paths[1].write_text(json.dumps({"info": {}, "annotations": annotations}))
    return paths


def item(row: int, image_id: int | None = None, answer: str = "yes", question: str = "") -> VqaItem:
    image_id = 1000 + row if image_id is None else image_id
    return VqaItem(
        row=row,
        question_id=10 * row,
        image_id=image_id,
        question=question or f"question {row}?",
        answer=answer,
        answers=(answer,) * 10,
        question_type="what",
        answer_type="other",
        image=Path(f"image{image_id}.jpg"),
    )


def joined(questions: list[tuple[int, int, str]], annotations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The annotations, each with its question: the elements of a joined file."""
    texts = {question_id: text for question_id, _, text in questions}
    return [{**found, "question": texts[found["question_id"]]} for found in annotations]
