"""Each kind of hostile data file is one sentence that names file and place, and costs no memory to speak of."""

from __future__ import annotations

import io
import random
import resource
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from icd_assets.datasets import parquet_file, parquet_pages, text_file
from icd_assets.datasets.ids import check_image_names
from icd_assets.datasets.json_file import read_json
from icd_assets.datasets.table_file import TableFile
from icd_assets.errors import UserError
from icd_assets.tasks.caption.files import read_captions


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"a": [{"question": "\\ud800"}]}', r"a\[0\].question holds half a character"),
        ('{"a\\udc00": 1}', "a key, .*, holds half a character"),
        ("[1," * 200 + "1" + "]" * 200, "lists within lists"),
        ("[" * 100_000, "lists within lists"),
        ("[1e400]", "1e400 is not a finite number"),
        ("[" + "9" * 5000 + "]", "4300 digits"),
        ("PK\x03\x04", "is a zip archive"),
        ('{"' + "k" * 10_000 + '": 1, "' + "k" * 10_000 + '": 2}', "occurs twice in one object"),
    ],
)
def test_json_of_each_kind_is_one_short_sentence(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=says) as caught:
        read_json(path, unique_keys=True)
    assert len(str(caught.value)) < 400 + len(str(path))
    str(caught.value).encode()


def test_both_halves_of_a_character_are_one(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('["\\ud83d\\ude00", "\\u00e9"]')
    assert read_json(tmp_path / "a.json") == ["\N{GRINNING FACE}", "é"]


@pytest.mark.parametrize("piece", ["[],", '{"a":1},', "1,"])
def test_brackets_and_commas_alone_do_not_fill_the_memory(tmp_path: Path, piece: str, monkeypatch) -> None:
    monkeypatch.setattr(text_file, "_OBJECTS", 64 << 20)
    path = tmp_path / "a.json"
    path.write_text("[" + piece * (12_000_000 // len(piece)) + "1]")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match="next to nothing but brackets and commas"):
        read_json(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_a_line_without_end(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"question,image\n" + b"a" * (17 << 20))
    with pytest.raises(UserError, match="has more than 8 MiB in line 2"):
        list(TableFile(path=str(tmp_path / name)).rows())


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl"])
@pytest.mark.parametrize("line", ["\n", "\r", ",\n"], ids=["LF", "CR", "comma"])
def test_millions_of_empty_lines(tmp_path: Path, name: str, line: str) -> None:
    (tmp_path / name).write_text(
        "question,answer\n" + line * (9_000_000 // len(line)), newline="", encoding="utf-8"
    )
    with pytest.raises(UserError, match=r"is next to nothing but line breaks, over 3,000,000 of them"):
        list(TableFile(path=str(tmp_path / name)).rows())


def test_a_tab_in_what_is_wrong_is_no_tab_on_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text('question\tanswer\n"a"b\tc\n', encoding="utf-8")
    with pytest.raises(UserError, match="fix the quotes of that record") as refused:
        list(TableFile(path=str(tmp_path / "a.tsv")).rows())
    assert str(refused.value).isprintable()


def test_a_million_columns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(",".join(map(str, range(1_000_000))))
    with pytest.raises(UserError, match="has 1000000 columns"):
        list(TableFile(path=str(tmp_path / "a.csv")).rows())


@pytest.mark.parametrize("kind", ["text", "page", "nulls", "date", "no utf-8"])
def test_parquet_that_grows_or_has_no_value_in_python(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    monkeypatch.setattr(parquet_file, "_FREE", 8 << 20)  # to make pages of hundreds of MiB takes gigabytes
    columns = {
        "text": lambda: pa.DictionaryArray.from_arrays(
            pa.array([0] * 5000, pa.int32()), pa.array(["a" * (1 << 20)])
        ),
        "page": lambda: pa.array(["a" * (9 << 20)]),
        "nulls": lambda: pa.nulls(50_000_000, pa.int64()),
        "date": lambda: pa.array([1 << 62], pa.timestamp("ms")),
        "no utf-8": lambda: pa.array([b"\xff"]).view(pa.string()),
    }
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"answer": columns[kind]()}), path, compression="zstd", use_dictionary=kind != "page")
    with pytest.raises(UserError, match=r"holds over|declares|cannot be read as Parquet"):
        list(TableFile(path=str(path)).rows())


@pytest.mark.parametrize("kind", ["lists", "one list", "records", "deltas", "deltas in lists"])
def test_parquet_that_grows_within_lists_and_pages(tmp_path: Path, kind: str) -> None:
    """Some hundred bytes that would be a gigabyte and more: known before any of it is there."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    count, long = 40, "a" * (32 << 20)
    repeated = pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), pa.array([long]))
    text, deltas = "a" * (1 << 20), "deltas" in kind
    columns = {
        "lists": lambda: pa.ListArray.from_arrays(pa.array(range(count + 1), pa.int32()), repeated),
        "one list": lambda: pa.ListArray.from_arrays(pa.array([0, count], pa.int32()), repeated),
        "records": lambda: pa.StructArray.from_arrays([repeated], names=["x"]),
        "deltas": lambda: pa.array([text] * 60),
        "deltas in lists": lambda: pa.array([[text] * 60]),
    }
    path = tmp_path / "a.parquet"
    encoding = {"answer.list.element" if "lists" in kind else "answer": "DELTA_BYTE_ARRAY"} if deltas else None
    table = pa.table({"answer": columns[kind]()})
    pq.write_table(table, path, compression="zstd", use_dictionary=not deltas, column_encoding=encoding)
    del table, columns
    assert path.stat().st_size < 50_000
    pool = pa.default_memory_pool()
    most = max(600 << 20, pool.max_memory())  # a test before this one may have taken more
    with pytest.raises(UserError, match=r"holds over 256 MiB|pages of DELTA_BYTE_ARRAY, which are not read"):
        list(TableFile(path=str(path)).rows())
    assert pool.max_memory() <= most


@pytest.mark.parametrize("kind", ["numbers", "records", "lists of lists", "texts", "version 2"])
def test_a_row_with_millions_of_values_is_known_by_the_headers_of_its_pages(tmp_path: Path, kind: str) -> None:
    """Its pages take some hundred bytes, and its footer counts one row."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    count = 3_000_000
    zeros = pa.array(np.zeros(count, np.int8))
    inner: dict[str, Any] = {
        "records": lambda: pa.StructArray.from_arrays([zeros, zeros], names=["x", "y"]),
        "lists of lists": lambda: pa.ListArray.from_arrays(pa.array(range(count + 1), pa.int32()), zeros),
        "texts": lambda: pa.DictionaryArray.from_arrays(zeros, pa.array([""])),
    }
    answers = pa.ListArray.from_arrays(pa.array([0, count], pa.int32()), inner.get(kind, lambda: zeros)())
    table = pa.table({"answer": answers, "question": ["?"]})
    path = tmp_path / "a.parquet"
    pq.write_table(table, path, compression="zstd", data_page_version="2.0" if kind == "version 2" else "1.0")
    assert path.stat().st_size < 50_000
    with pytest.raises(
        UserError, match=f"declares {count} values of lists in [0-9]+ bytes; write the table again"
    ):
        list(TableFile(path=str(path)).rows())
    assert len(list(TableFile(path=str(path)).rows(only=["question"]))) == 1, "the other column may be read"


def test_lists_of_records_in_several_groups_are_read(tmp_path: Path) -> None:
    """Arrow gives no nested column with several dictionaries at once; each group has its own."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    answers = [[{"answer": f"{row % 7} {at}", "sure": "yes"} for at in range(row % 4)] for row in range(300)]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"answers": answers}), path, row_group_size=50, data_page_size=100)
    with pytest.raises(pa.ArrowNotImplementedError, match="Nested data conversions"):
        leaves = ["answers.list.element.answer", "answers.list.element.sure"]
        list(pq.ParquetFile(path, read_dictionary=leaves).iter_batches())
    assert [row["answers"] for _, row in TableFile(path=str(path)).rows()] == answers
    with path.open("rb") as file:
        assert parquet_pages.declared_values(file, [0, 1]) == sum(max(1, len(one)) for one in answers)


def test_a_nested_column_that_changes_its_dictionary_is_not_read_without_one() -> None:
    """No writer makes one. Without dictionaries each text would be there as often as it stands in the table."""
    import pyarrow as pa

    class File:
        num_row_groups = 1

        def iter_batches(self, **options: object) -> Iterator[object]:
            raise pa.ArrowNotImplementedError("Nested data conversions not implemented for chunked array outputs")

    problem = parquet_file._expanded(File(), ["l.list.element"], 100)  # type: ignore[arg-type]
    assert problem == "has a list or record of texts whose dictionary changes within a group of rows"


@pytest.mark.parametrize("at", range(0, 100, 3))
def test_metadata_of_anything(at: int) -> None:
    """No byte of a footer or of a page's header ends in more than an error that says so."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(pa.table({"l": [["a", "b"], []] * 20}), buffer, data_page_size=20)
    content, random_ = bytearray(buffer.getvalue()), random.Random(at)
    for _ in range(3):
        content[random_.randrange(len(content))] = random_.randrange(256)
    with suppress(ValueError):
        assert parquet_pages.declared_values(io.BytesIO(bytes(content)), [0]) >= 0


@pytest.mark.parametrize("name", ["x" * 300, "a/" + "é" * 130 + ".png", "../a", "a/../../b", "/etc/passwd"])
def test_names_that_no_picture_has(name: str) -> None:
    with pytest.raises(UserError, match=r"leads out|lies outside|more than 255 bytes"):
        check_image_names([name], "/pictures/{image_id}", "a.json")


@pytest.mark.parametrize("encoding", ["idna", "punycode", "unicode_escape", "utf-7"])
def test_encodings_that_no_file_has(encoding: str) -> None:
    with pytest.raises(ValueError, match="no file is in the encoding"):
        TableFile(path="a.csv", encoding=encoding)


def test_an_image_number_beyond_all_tables(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"images": [{"id": 1' + "0" * 400 + '}], "annotations": []}')
    with pytest.raises(UserError, match="not an image's number") as caught:
        read_captions("any", "train", path, "{image_id}.jpg")
    assert len(str(caught.value)) < 300 + len(str(path))
