from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from icd_assets.errors import UserError
from icd_assets.scoring.beam_file import write_beams
from icd_assets.scoring.infoscore import Beam, QueryBeams
from icd_assets.scoring.step_label_file import read_step_labels, write_step_labels
from icd_assets.scoring.step_labels import StepLabels

POOLS = {17: (33, 5, 812), 3: (1, 2, 0)}
LABELS = {
    17: [
        StepLabels(17, (), (0.1 + 0.2, 1.0, 1e-17), 0.25),
        StepLabels(17, (2, 0), (None, 0.5, None), None),
    ],
    3: [StepLabels(3, (), (0.0, None, 0.75), 0.5)],
}
META = {"lineage": {"code": "1"}}


def write(path: Path) -> dict[str, Any]:
    write_step_labels(path, LABELS, POOLS, label="likelihood", meta=META)
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def test_the_form(tmp_path: Path) -> None:
    content = write(tmp_path / "labels.json")
    assert list(content) == ["3", "17", "_meta"]
    assert content["3"] == {
        "candidate_pool_ids": [1, 2, 0],
        "steps": [{"prefix": [], "base": 0.5, "values": [0.0, None, 0.75]}],
    }
    assert content["_meta"] == {"lineage": {"code": "1"}, "label": "likelihood"}


def test_what_is_written_is_read_to_the_bit_and_written_alike(tmp_path: Path) -> None:
    write(tmp_path / "a.json")
    found = read_step_labels(tmp_path / "a.json", n_rows=900)
    assert (found.label, found.pools, found.steps) == ("likelihood", POOLS, LABELS)
    again = tmp_path / "b.json"
    write_step_labels(again, dict(reversed(found.steps.items())), found.pools, label=found.label, meta=META)
    assert again.read_bytes() == (tmp_path / "a.json").read_bytes()


def first_step(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], object]:
    return lambda query: change(query["steps"][0])


HOSTILE: dict[str, Callable[[dict[str, Any]], object]] = {
    "no pool": lambda q: q.pop("candidate_pool_ids"),
    "an empty pool": lambda q: q.update(candidate_pool_ids=[]),
    "pool holds the query": lambda q: q.update(candidate_pool_ids=[33, 17, 812]),
    "pool holds a row twice": lambda q: q.update(candidate_pool_ids=[33, 33, 812]),
    "pool leaves the split": lambda q: q.update(candidate_pool_ids=[33, 5, 900]),
    "pool of another size": lambda q: q.update(candidate_pool_ids=[33, 5]),
    "pool of truth values": lambda q: q.update(candidate_pool_ids=[True, False, 5]),
    "pool is an object": lambda q: q.update(candidate_pool_ids={"0": 33}),
    "no steps": lambda q: q.update(steps=[]),
    "steps missing": lambda q: q.pop("steps"),
    "a step is a list": lambda q: q["steps"].__setitem__(0, [1]),
    "a prefix twice": lambda q: q["steps"].append(q["steps"][0]),
    "a pick twice": lambda q: q["steps"][1].update(prefix=[2, 2]),
    "a pick outside the pool": lambda q: q["steps"][1].update(prefix=[2, 3]),
    "a negative pick": lambda q: q["steps"][1].update(prefix=[-1]),
    "a fractional pick": lambda q: q["steps"][1].update(prefix=[1.0]),
    "no prefix": first_step(lambda s: s.pop("prefix")),
    "no base": first_step(lambda s: s.pop("base")),
    "base above 1": first_step(lambda s: s.update(base=1.5)),
    "too few values": first_step(lambda s: s["values"].pop()),
    "a value of a pick": lambda q: q["steps"][1]["values"].__setitem__(2, 0.5),
    "no value at all": first_step(lambda s: s.update(values=[None] * 3)),
    "a value is a text": first_step(lambda s: s["values"].__setitem__(0, "0.5")),
    "a value is true": first_step(lambda s: s["values"].__setitem__(0, True)),
    "a value is negative": first_step(lambda s: s["values"].__setitem__(0, -0.1)),
    "a value is huge": first_step(lambda s: s["values"].__setitem__(0, 10**400)),
}


@pytest.mark.parametrize("damage", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_query_is_named(tmp_path: Path, damage: Callable[[dict[str, Any]], object]) -> None:
    path = tmp_path / "labels.json"
    content = write(path)
    damage(content["17"])
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"labels\.json: query 17: [^\n]*; make the labels again"):
        read_step_labels(path, n_rows=900)


@pytest.mark.parametrize("key", ["017", "+17", "1e3", "900", "x", "", "٣", "1" * 5000])
def test_a_key_that_is_no_row_is_named(tmp_path: Path, key: str) -> None:
    content = write(tmp_path / "labels.json")
    content[key] = content.pop("17")
    (tmp_path / "labels.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"labels\.json: query .{0,20}: "):
        read_step_labels(tmp_path / "labels.json", n_rows=900)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1]",
        "null",
        "{}",
        '{"_meta": 1}',
        '{"_meta": {"label": "likelihood"}}',
        '{"_meta": {"label": ["likelihood"]}}',
        '{"_meta": {"label": "loss"}, "1": {}}',
        "[" * 100_000,
        '{"17": {}, "17": {}}',
        '{"_meta": {"label": "accuracy"}, "17": {"steps": [NaN]}}',
        '{"_meta": {"label": "accuracy"}, "17": null}',
        "\x00",
    ],
)
def test_a_foreign_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "labels.json").write_text(text)
    with pytest.raises(UserError, match=r"labels\.json"):
        read_step_labels(tmp_path / "labels.json")


def test_beam_data_are_no_labels(tmp_path: Path) -> None:
    write_beams(tmp_path / "beams.json", {3: QueryBeams(3, (Beam((1, 2), 0.5, (2, 1), (0.25, 0.25)),))})
    with pytest.raises(UserError, match="is no file of labels"):
        read_step_labels(tmp_path / "beams.json")


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    write(path)
    whole = path.read_bytes().rstrip()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"labels\.json"):
            read_step_labels(path)
