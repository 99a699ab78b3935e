"""Data files, answers, pictures and catalogs of the user's."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from icd_assets.datasets.columns import table_of
from icd_assets.datasets.found.layout import Hints, look_at
from icd_assets.datasets.table_rows import Columns, Table, read_table_records
from icd_assets.datasets.vqa import load_split
from icd_assets.experiment.catalog import Catalog
from icd_assets.experiment.catalog_overlay import add_to, entry_text
from icd_assets.lineage.published import published_beside
from icd_assets.report.answers_file import read_answers
from icd_assets.report.sides import by_id
from icd_assets.store.digests import DigestCache
from icd_assets.tasks.caption.files import read_captions
from icd_assets.tasks.multiple_choice.files import read_choices
from icd_assets.vlm.data_url import data_url
from icd_assets.vlm.images import look, pixels_digest
from icd_assets_tests.readers import Reader

_RECORDS = [
    {"question_id": 1, "question": "What?", "image": "a.png", "answers": ["a", "b"]},
    {"question_id": 2, "question": "Who?", "image": "b.png", "answers": ["c"]},
]


def _table(path: Path) -> object:
    columns = Columns(question="question", image_id="image", answers="answers", question_id="question_id")
    table = Table.model_validate({"path": str(path), "unanswered": "leave_out", "columns": columns})
    return table_of(read_table_records(table, "official", len))


def _looked_at(path: Path) -> object:
    look_at(path, Hints())
    return look_at(path, Hints(), named=True)


def _answers(path: Path) -> object:
    return by_id(read_answers(path), path)


def _delimited(mark: str) -> bytes:
    rows = [
        ["question_id", "question", "image", "answers"],
        ["1", "What?", "a.png", "a"],
        ["2", "Who?", "b.png", "b"],
    ]
    return "".join(f"{mark.join(row)}\n" for row in rows).encode()


def _parquet(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(_RECORDS), path)


def _answers_parquet(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"question_id": [1, 2], "answer": ["a", "b"], "score": [0.5, 1.0]}), path)


_LINES = "".join(json.dumps(record) + "\n" for record in _RECORDS).encode()
_TABLES: dict[str, bytes | Callable[[Path], object]] = {
    ".csv": _delimited(","),
    ".tsv": _delimited("\t"),
    ".json": json.dumps(_RECORDS).encode(),
    ".jsonl": _LINES,
    ".parquet": _parquet,
}


def _questions(path: Path) -> object:
    """A questions file, whose annotations lie beside it; the split is kept as columns, and read again."""
    images, annotations = f"{path.parent}/{{image_id}}", path.with_name("annotations.json")
    kept = path.parent / "columns"
    return load_split(
        *("d0", "train", path, annotations, images, "official"),
        digests=DigestCache(kept / "digests.json"),
        folder=kept,
    )


def _official(path: Path) -> None:
    (path.parent / "columns").mkdir(exist_ok=True)
    annotations = [{"question_id": 1, "image_id": 7, "answers": [{"answer": "a cat"}]}]
    path.with_name("annotations.json").write_text(json.dumps({"annotations": annotations}), encoding="utf-8")
    questions = [{"question_id": 1, "image_id": 7, "question": "What?"}]
    path.write_text(json.dumps({"questions": questions}), encoding="utf-8")


def _captions(path: Path) -> object:
    return read_captions("d0", "train", path, f"{path.parent}/{{image_id}}.jpg")


def _karpathy(path: Path) -> object:
    return read_captions("d0", "train", path, f"{path.parent}/{{image_id}}.jpg", "train")


_KARPATHY = {
    "images": [
        {
            "imgid": 1,
            "cocoid": 7,
            "filename": "a.jpg",
            "split": "train",
            "sentences": [{"raw": "A cat."}, {"raw": "Cats."}],
        }
    ]
}


def _choices(path: Path) -> object:
    return read_choices("d0", "train", path, f"{path.parent}/{{image_id}}.jpg")


_CHOICES = [
    {
        "question_id": "q1",
        "image_id": 7,
        "question": "What?",
        "choices": ["a", "b", "c", "d"],
        "correct_choice_idx": 1,
        "split": "train",
    }
]


def _published(path: Path) -> object:
    (path.parent / "model.safetensors").write_bytes(b"weights")
    return published_beside(path.parent / "model.safetensors")


_NODE = {
    "name": "rl_data",
    "data_version": "ab12",
    "cell": "d0|RandSampler/m0",
    "run_id": None,
    "created_at": "2026-01-02T03:04:05+00:00",
    "code_version": "1",
    "config_digest": "0f",
    "config": {},
    "environment": {},
    "origin": "made",
    "seconds": 1.5,
    "files": [],
    "inputs": {},
}


def _overlay(path: Path) -> None:
    add_to(path, "mine", entry_text("mine", {"sample_num": 3}, "added"))


def _cells(path: Path) -> object:
    catalog = Catalog.load(path)
    return [catalog.cell(name, "rand_sampler", "tiny_vl") for name in catalog.datasets]


_CATALOG = {
    "datasets": {
        "d9": {
            "alias_prefixes": ["d9"],
            "sample_num": 3,
            "encoder": "tiny_clip",
            "sampler_encoder": "tiny_clip",
            "settings": {"beam_data": {"expand": 8}},
            "train": {"questions": "q", "annotations": "a", "images": "i/{image_id:012d}.jpg"},
            "validation": {"joined": "j", "images": "x/{image_id}"},
        }
    }
}


def _picture(path: Path) -> object:
    problem = look(path)[1]
    digest = None
    try:
        digest = pixels_digest(path)
    except OSError:
        assert problem is not None
    url = data_url(path)  # a UserError for what is no picture
    assert problem is None
    return digest, url


def _png(path: Path) -> None:
    from PIL import Image

    file = BytesIO()
    Image.effect_noise((20, 12), 60).convert("RGB").save(file, "PNG")
    path.write_bytes(file.getvalue())


READERS: dict[str, Reader] = {
    **{f"table {suffix}": Reader(_table, f"train{suffix}", sound) for suffix, sound in _TABLES.items()},
    **{f"found {suffix}": Reader(_looked_at, f"train{suffix}", sound) for suffix, sound in _TABLES.items()},
    "answers .csv": Reader(_answers, "answers.csv", b"question_id,answer,score\n1,a,0.5\n2,b,1\n"),
    "answers .parquet": Reader(_answers, "answers.parquet", _answers_parquet),
    "official questions": Reader(_questions, "questions.json", _official),
    "captions": Reader(
        _captions,
        "captions.json",
        b'{"images": [{"id": 7, "file_name": "7.jpg"}], '
        b'"annotations": [{"image_id": 7, "id": 1, "caption": "A cat."}]}',
    ),
    "Karpathy's captions": Reader(_karpathy, "dataset.json", json.dumps(_KARPATHY).encode()),
    "choices": Reader(_choices, "choices.json", json.dumps(_CHOICES).encode()),
    "published lineage": Reader(
        _published, "lineage.json", json.dumps({"schema": 2, "artifacts": {"a": _NODE}}).encode(), values=80
    ),
    "overlay that is added to": Reader(_overlay, "catalog.yaml", b"models: {}\ndatasets: # mine\n"),
    "catalog": Reader(_cells, "catalog.yaml", json.dumps(_CATALOG).encode(), values=120, named="dataset d9"),
    "picture": Reader(_picture, "a.png", _png),
}
