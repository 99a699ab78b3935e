"""A table of questions in each of its formats, and every way in which one can be wrong."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from icd_assets.datasets.share import share_of
from icd_assets.datasets.table_rows import Table, read_table_records
from icd_assets.errors import UserError
from icd_assets.store.digests import DigestCache
from icd_assets.tasks.vqa.files import VqaFiles

COLUMNS = {"question": "question", "image_id": "image", "answers": "answer"}
RECORDS = [
    {"question": "Who?", "image": "b/2.png", "answer": "Ann"},
    {"question": "What, then?", "image": "a.png", "answer": "a dog\nand a cat"},
]


def read(path: Path, columns: dict[str, Any] = COLUMNS, **fields: Any) -> list[Any]:
    return read_table_records(Table(path=str(path), columns=columns, **fields), "official", len)


def text(path: Path, content: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(content.encode(encoding))
    return path


def expected(ids=(0, 1)):
    return [
        (ids[0], "b/2.png", "Who?", "Ann", ("Ann",), "", "other"),
        (ids[1], "a.png", "What, then?", "a dog\nand a cat", ("a dog\nand a cat",), "", "other"),
    ]


def delimited(delimiter: str) -> str:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter)
    writer.writerow(RECORDS[0])
    writer.writerows(record.values() for record in RECORDS)
    return out.getvalue()


CSV = 'question,image,answer\nWho?,b/2.png,Ann\n"What, then?",a.png,"a dog\nand a cat"\n'


@pytest.mark.parametrize(
    ("name", "content", "fields"),
    [
        ("a.csv", CSV, {}),
        ("a.csv", "\ufeff" + CSV.replace("\n", "\r\n").replace("dog\r\n", "dog\n"), {}),
        ("a.csv", delimited(";"), {"delimiter": ";"}),
        ("a.tsv", delimited("\t"), {}),
        ("a.json", json.dumps(RECORDS), {}),
        ("a.json", json.dumps({"info": 1, "data": RECORDS}), {"records": "data"}),
        ("a.jsonl", "\n".join(map(json.dumps, RECORDS)) + "\n\n", {}),
        ("a.txt", "\n".join(map(json.dumps, RECORDS)), {"format": "jsonl"}),
    ],
)
def test_every_format_gives_the_same_rows(tmp_path, name, content, fields):
    for encoding in ("utf-8", "utf-16"):
        assert read(text(tmp_path / name, content, encoding), **fields) == expected()


def test_parquet(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(RECORDS), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == expected()
    whole = (tmp_path / "a.parquet").read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"PAR1" + b"\0" * 400 + b"PAR1"):
        (tmp_path / "a.parquet").write_bytes(content)
        with pytest.raises(UserError, match="cannot be read as Parquet"):
            read(tmp_path / "a.parquet")
    for picture in ({"bytes": b"x", "path": None}, b"x" * 100_000):
        inside = [{**record, "image": picture} for record in RECORDS]
        pq.write_table(pa.Table.from_pylist(inside), tmp_path / "a.parquet")
        with pytest.raises(UserError, match="row 0: 'image' holds a picture inside the table"):
            read(tmp_path / "a.parquet")


def test_lists_and_keyed_records_and_ids(tmp_path):
    path = text(tmp_path / "a.json", json.dumps([["Who?", "Ann", 7], ["What?", "a dog", 3]]))
    assert [row[:4] for row in read(path, {"question": 0, "answers": 1, "image_id": 2})] == [
        (0, 7, "Who?", "Ann"), (1, 3, "What?", "a dog"),
    ]  # fmt: skip
    keyed = text(tmp_path / "k.json", json.dumps({"q2": RECORDS[0], "q1": RECORDS[1]}))
    assert [row[0] for row in read(keyed, {**COLUMNS, "question_id": "_key"})] == ["q1", "q2"]
    headless = text(tmp_path / "h.csv", "Who?,Ann,7\nWhat?,dog,3\n")
    assert len(read(headless, {"question": 0, "answers": 1, "image_id": 2}, header=False)) == 2


def test_whole_numbers_of_a_csv_are_numbers_and_others_texts(tmp_path):
    path = text(tmp_path / "a.csv", "id,image,question,answer\n10,3,a?,x\n9,12,b?,y\n")
    assert [row[:2] for row in read(path, {**COLUMNS, "question_id": "id"})] == [(9, 12), (10, 3)]
    path = text(tmp_path / "a.csv", "id,image,question,answer\n10,03,a?,x\n9,12,b?,y\n")
    assert [row[:2] for row in read(path, {**COLUMNS, "question_id": "id"})] == [(9, "12"), (10, "03")]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_whole_numbers_that_pandas_wrote_as_floats(tmp_path, suffix):
    rows = [{**RECORDS[0], "id": float(n), "image": 20.0 + n} for n in (0, 10, 9)]
    path = tmp_path / f"a.{suffix}"
    match suffix:
        case "csv":
            lines = [",".join(map(str, row.values())) for row in rows]
            text(path, "\n".join([",".join(rows[0]), *lines]))
        case "jsonl":
            text(path, "\n".join(map(json.dumps, rows)))
        case "parquet":
            import pyarrow as pa
            import pyarrow.parquet as pq

            pq.write_table(pa.Table.from_pylist(rows), path)
    assert [row[:2] for row in read(path, {**COLUMNS, "question_id": "id"})] == [(0, 20), (9, 29), (10, 30)]


def test_paths_of_windows_blanks_around_them_and_empty_rows_of_a_spreadsheet(tmp_path):
    path = text(tmp_path / "a.csv", "question,image,answer\nWho?, b\\2.png ,Ann\n,,\nWhat?,a.png,x\n,,\n")
    assert [row[:2] for row in read(path)] == [(0, "b/2.png"), (1, "a.png")]


def test_other_floats_are_no_ids(tmp_path):
    path = text(tmp_path / "a.json", json.dumps([{**RECORDS[0], "image": 1.5}]))
    with pytest.raises(UserError, match=r"\[0\]: 'image' is 1.5, not of type int or str"):
        read(path)


@pytest.mark.parametrize(
    ("cell", "answers"),
    [
        ("red", ("red",)),
        (3, ("3",)),
        (2.5, ("2.5",)),
        (["a", "b", None, "a"], ("a", "b", "a")),
        ('["a", "b"]', ("a", "b")),
        ("['a', \"b's\"]", ("a", "b's")),
        ("['a' 'b c'\n \"d's\"]", ("a", "b c", "d's")),  # numpy's
        ("array(['a', 'b'], dtype=object)", ("a", "b")),
        (["['a' 'b']", "array of dogs"], ("a", "b", "array of dogs")),
        (r"['\x' 'b']", (r"['\x' 'b']",)),
        ([{"answer": "a", "answer_confidence": "yes"}, {"answer": 3}], ("a", "3")),
        ("[not a list", ("[not a list",)),
        ("[os.system('x')]", ("[os.system('x')]",)),
    ],
)
def test_what_an_answer_may_be(tmp_path, cell, answers):
    (row,) = read(text(tmp_path / "a.json", json.dumps([{**RECORDS[0], "answer": cell}])))
    assert row[4] == answers


def test_the_most_frequent_answer_is_shown_or_the_one_named(tmp_path):
    record = {"question": "?", "image": "1", "a1": "x", "a2": "y", "a3": "y", "a4": None, "best": "z"}
    path = text(tmp_path / "a.json", json.dumps([record]))
    columns = {"question": "question", "image_id": "image", "answers": ["a1", "a2", "a3", "a4"]}
    assert read(path, columns)[0][3:5] == ("y", ("x", "y", "y"))
    assert read(path, {**columns, "answer": "best"})[0][3] == "z"


@pytest.mark.parametrize("cell", [None, "", "  ", "NaN", "nan", [], [None], float("nan"), "[]"])
def test_no_answer_is_counted_and_left_out_only_if_asked(tmp_path, cell):
    records = [RECORDS[0], {**RECORDS[1], "answer": cell}, {**RECORDS[1], "answer": cell}]
    path = text(tmp_path / "a.json", json.dumps(records))
    with pytest.raises(
        UserError, match=r"a\.json: 2 of 3 questions have no answer, the first is \[1\] \(question_id 1\)"
    ):
        read(path)
    assert [row[0] for row in read(path, unanswered="leave_out")] == [0]
    with pytest.raises(UserError, match="has no answered question"):
        read(text(tmp_path / "a.json", json.dumps(records[1:])), unanswered="leave_out")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", "", "is empty"),
        ("a.csv", "question,image,answer\n", "has no answered question"),
        ("a.csv", "a,b\n1,2\n", r"line 2: there is no column 'question' for question; there are 'a', 'b'"),
        (
            "a.csv",
            "question,image,result\nWho?,1,Ann\n",
            "a.csv: there is no column 'answer' for answers; there are",
        ),
        ("a.json", '[{"question": "Who?", "image": 1}]', "a.json: there is no column 'answer' for answers"),
        ("a.csv", "question,image,image\n", "two columns are called 'image'"),
        ("a.csv", "question,image,answer\nWho, me?,1,Ann\n", "line 2 has 4 fields, but the first has 3"),
        ("a.csv", 'question,image,answer\n"Who?,1,Ann\n' + "x" * 5000, "line 2: unexpected end of data"),
        (
            "a.csv",
            'question,image,answer\n"Who?,1,Ann\n' + "x,\n" * 600_000,
            "line 2: field larger than field limit",
        ),
        ("a.csv", "question,image,answer\n,1,Ann\n", "line 2: 'question' is '', not a question"),
        ("a.csv", "question,image,answer\nWho?,,Ann\n", "line 2: 'image' is '', which is no id"),
        ("a.json", '[{"question": "Who', "is not complete JSON"),
        ("a.json", "[3]", r"\[0\] is 3, not a record"),
        ("a.json", "[]", "has no answered question"),
        ("a.json", '"x"', "holds no list of records"),
        ("a.json", '[{"question": "?", "image": "1", "answer": true}]', "an answer is true, which shows no word"),
        ("a.json", '[{"question": "?", "image": "1", "answer": {"x": 1}}]', "an answer is .*not a text"),
        ("a.json", '[{"question": "?", "image": 1.5, "answer": "x"}]', "1.5, not of type int or str"),
        ("a.json", '[{"question": 3, "image": 1, "answer": "x"}]', "'question' is 3, not a question"),
        ("a.jsonl", '{"question": "?", "image": "1", "answer": "x"}\n{"quest', "line 2 is no JSON record"),
        ("a.xyz", "", "its name does not say how it is written"),
    ],
)
def test_a_bad_table_is_one_sentence_with_its_line(tmp_path, name, content, says):
    with pytest.raises(UserError, match=says) as caught:
        read(text(tmp_path / name, content))
    assert name in str(caught.value) and "\n" not in str(caught.value)


def test_a_question_twice_is_named_by_its_id(tmp_path):
    path = text(tmp_path / "a.csv", "id,image,question,answer\nq7,1,a?,x\nq8,2,b?,y\nq7,3,c?,z\n")
    with pytest.raises(UserError, match=r"line 4: question_id 'q7' occurs twice, first at line 2"):
        read(path, {**COLUMNS, "question_id": "id"})


def test_an_encoding_that_is_not_certain_is_refused_with_its_line(tmp_path):
    path = text(tmp_path / "a.csv", CSV + "Où?,é.png,là\n", "latin-1")
    with pytest.raises(UserError, match=r"a\.csv is not UTF-8 text \(line 5, byte 7\d\).*encoding: latin-1"):
        read(path)
    assert read(path, encoding="latin-1")[2][1:4] == ("é.png", "Où?", "là")
    with pytest.raises(UserError, match="holds zero bytes"):
        read(text(tmp_path / "b.csv", CSV, "utf-16-le"))
    assert read(tmp_path / "b.csv", encoding="utf-16-le") == expected()
    with pytest.raises(ValidationError, match="there is no encoding 'latin-99'"):
        read(path, encoding="latin-99")


def test_what_is_no_file(tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe.csv")
    for name in ("pipe.csv", "absent.csv", "."):
        with pytest.raises(UserError, match="cannot be read"):
            read(tmp_path / name, format="csv")


def split(tmp_path: Path, **fields: Any):
    files = VqaFiles.model_validate({"images": f"{tmp_path}/{{image_id}}", **fields})
    how = {"digests": DigestCache(tmp_path / "digests.json"), "folder": tmp_path / "kept"}
    return files.read("mine", "train", answer="official", **how)


def test_a_split_of_the_catalog_is_a_table_a_split_column_or_a_share(tmp_path):
    records = [{**RECORDS[0], "image": f"{n}.png", "part": "val" if n % 5 == 0 else "train"} for n in range(20)]
    path = text(tmp_path / "all.json", json.dumps(records))
    table = {"path": str(path), "columns": {**COLUMNS, "split": "part"}}
    whole = split(tmp_path, table=table)
    named = [split(tmp_path, table={**table, "split": part}) for part in ("train", "val")]
    shares = [split(tmp_path, table=table, share=share) for share in ([0, 0.8], [0.8, 1])]
    again = split(tmp_path, table=table, share=[0, 0.8])
    assert [len(one) for one in (whole, *named, *shares)] == [20, 16, 4, 16, 4]
    assert list(again) == list(shares[0]) and again.digest == shares[0].digest
    assert not {item.image for item in shares[0]} & {item.image for item in shares[1]}
    assert len({one.digest for one in (whole, *named, *shares)}) == 5
    assert named[1][1].question_id == 5 and named[1][1].image == tmp_path / "5.png"


@pytest.mark.parametrize("count", [2, 3, 7, 100])
def test_shares_are_whole_and_apart(count):
    records = [(n, n // 2, "?", "a", ("a",), "", "") for n in range(2 * count)]
    first, second = (share_of(records, share, "x") for share in ((0.0, 0.8), (0.8, 1.0)))
    assert first and second and sorted(first + second) == records
    assert not {record[1] for record in first} & {record[1] for record in second}
    with pytest.raises(UserError, match="all questions are about one image"):
        share_of(records[:2], (0, 0.8), "x")


@pytest.mark.parametrize(
    "fields",
    [
        {"table": {"path": "a.csv", "columns": COLUMNS}, "joined": "b.json"},
        {"table": {"path": "a.csv", "columns": {"question": "q"}}},
        {"joined": "b.json", "share": [0.8, 0.2]},
        {"joined": "b.json", "share": [0, 2]},
        {"table": {"path": "a.csv", "columns": {**COLUMNS, "colour": "x"}}},
    ],
)
def test_entries_that_contradict_themselves(fields):
    with pytest.raises(ValidationError):
        VqaFiles.model_validate({"images": "{image_id}", **fields})
