"""What one machine has asked a VLM no other asks again."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from icd_assets.errors import UserError
from icd_assets.remote import layout, shared_answers
from icd_assets.remote.shared_answers import SharedAnswers
from icd_assets.vlm.answer_store import AnswerStore
from icd_assets.vlm.backend import Likelihood
from icd_assets_tests.worlds.manifests import World
from icd_assets_tests.worlds.two_homes import Homes, homes

__all__ = ["homes"]


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def add(world: World, *numbers: int) -> None:
    with AnswerStore(world.store.answers) as answers:
        answers.add({key(n): f"answer {n}" if n % 2 else Likelihood(-float(n), n + 1) for n in numbers})


def rows(world: World) -> dict[bytes, object]:
    with AnswerStore(world.store.answers) as answers:
        return {row[0]: row[1:] for row in answers._connection.execute("SELECT * FROM answers")}


def shared(homes: Homes, world: World) -> SharedAnswers:
    return SharedAnswers(world.store, homes.remote)


def names(homes: Homes) -> list[str]:
    return [entry.name for entry in homes.remote.names(layout.ANSWERS)]


def test_both_have_all_in_the_end(homes: Homes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_answers, "_ROWS", 7)
    add(homes.mine, *range(20))
    add(homes.theirs, *range(10, 35))
    assert shared(homes, homes.mine).only_here() == 20
    assert shared(homes, homes.mine).push() == 20
    assert shared(homes, homes.theirs).push() == 15, "the rest is there"
    assert shared(homes, homes.theirs).pull() == 10
    assert shared(homes, homes.mine).pull() == 15
    assert rows(homes.mine) == rows(homes.theirs)
    assert len(rows(homes.mine)) == 35
    assert shared(homes, homes.mine).push() == shared(homes, homes.mine).pull() == 0
    assert shared(homes, homes.mine).only_there() == 0
    assert len(names(homes)) == 3 + 3


def test_the_first_answer_stays(homes: Homes) -> None:
    with AnswerStore(homes.mine.store.answers) as mine, AnswerStore(homes.theirs.store.answers) as theirs:
        mine.add({key(1): "a"})
        theirs.add({key(1): "b"})
    shared(homes, homes.mine).push()
    assert shared(homes, homes.theirs).pull() == 0
    assert rows(homes.theirs)[key(1)] == ("b", None, None)


def test_the_record_may_be_lost(homes: Homes) -> None:
    add(homes.mine, *range(20))
    shared(homes, homes.mine).push()
    for path in (homes.mine.store.caches / "remote").iterdir():
        path.unlink()
    assert shared(homes, homes.mine).push() == 0
    assert len(names(homes)) == 1


def test_the_same_answers_are_the_same_file(homes: Homes) -> None:
    add(homes.mine, *range(20))
    add(homes.theirs, *reversed(range(20)))
    shared(homes, homes.mine).push()
    first = names(homes)
    homes.remote.delete(first)
    shared(homes, homes.theirs).push()
    assert names(homes) == first


BAD = {
    "other columns": pa.table({"key": pa.array([key(1)], pa.binary(32)), "text": ["a"]}),
    "no answer": (None, None, None),
    "both": ("a", -1.0, 2),
    "half": (None, -1.0, None),
    "likely": (None, 1.0, 2),
    "not a number": (None, float("nan"), 2),
    "no tokens": (None, -1.0, 0),
}


@pytest.mark.parametrize("kind", [*BAD, "text", "empty", "damaged"])
def test_a_foreign_file_is_refused_and_nothing_of_it_kept(homes: Homes, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "bad.parquet"
    content = BAD.get(kind)
    if isinstance(content, tuple):
        columns = zip(["text", "logprob", "tokens"], content, strict=True)
        schema = shared_answers._schema()
        arrays = [pa.array([key(1)], schema.field("key").type)]
        arrays += [pa.array([value], schema.field(name).type) for name, value in columns]
        content = pa.Table.from_arrays(arrays, schema=schema)
    if content is not None:
        pq.write_table(content, path)
    else:
        path.write_bytes(b"" if kind == "empty" else b"PAR1 no table")
    from icd_assets.store.digests import sha256_file

    sha256 = "0" * 64 if kind == "damaged" else sha256_file(path)
    homes.remote.put(layout.answers(sha256), iter([path.read_bytes()]))
    add(homes.theirs, 5)
    with pytest.raises(UserError, match="remove it"):
        shared(homes, homes.theirs).pull()
    assert set(rows(homes.theirs)) == {key(5)}


def test_a_damaged_record_is_one_sentence(homes: Homes) -> None:
    add(homes.mine, 1)
    shared(homes, homes.mine).push()
    (path,) = (homes.mine.store.caches / "remote").glob("*.sqlite")
    for one in path.parent.iterdir():
        one.write_bytes(b"no database at all, but long enough to be one" * 100)
    with pytest.raises(UserError, match="move it away"):
        shared(homes, homes.mine).push()
