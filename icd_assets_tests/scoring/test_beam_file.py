from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from icd_assets.errors import UserError
from icd_assets.scoring.beam_file import read_beams, write_beams
from icd_assets.scoring.infoscore import Beam, QueryBeams

BEAMS = {
    17: QueryBeams(
        17,
        (
            Beam(icds=(33, 812), score=0.3, chosen=(812, 33), step_scores=(0.1, 0.2)),
            Beam(icds=(5, 812), score=0.1 + 0.2, chosen=(812, 5), step_scores=(0.1, 1e-17)),
        ),
    ),
    3: QueryBeams(3, (Beam(icds=(1, 2), score=-0.5, chosen=(2, 1), step_scores=(-0.25, -0.25)),)),
}


def test_the_form_is_upstreams(tmp_path: Path) -> None:
    write_beams(tmp_path / "b.json", BEAMS)
    content = json.loads((tmp_path / "b.json").read_text())
    assert list(content) == ["3", "17"]
    assert content["3"] == {
        "beams": [
            {
                "shots": [{"id": 2, "score": -0.25}, {"id": 1, "score": -0.25}],
                "final_score": -0.5,
                "full_sequence": [1, 2, 3],
            }
        ],
        "few_shot_num": 2,
        "id_list": [[1, 2, 3]],
        "score_list": [-0.5],
        "shot_scores": [[-0.25, -0.25]],
    }


def test_what_is_written_is_read_to_the_bit_and_written_alike(tmp_path: Path) -> None:
    write_beams(tmp_path / "a.json", BEAMS)
    assert read_beams(tmp_path / "a.json", rows=900) == BEAMS
    write_beams(tmp_path / "b.json", dict(reversed(BEAMS.items())))
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_a_legacy_file_has_sequences_and_scores_alone(tmp_path: Path) -> None:
    content = {"_meta": {"x": 1}, "17": {"id_list": [[33, 812, 17]], "score_list": [1]}}
    (tmp_path / "b.json").write_text(json.dumps(content))
    assert read_beams(tmp_path / "b.json") == {17: QueryBeams(17, (Beam(icds=(33, 812), score=1.0),))}


def damaged(change: Callable[[dict[str, Any]], object]) -> Callable[[str], str]:
    def apply(text: str) -> str:
        content = json.loads(text)
        change(content["17"])
        return json.dumps(content)

    return apply


HOSTILE: dict[str, Callable[[str], str]] = {
    "not a row": damaged(lambda q: q["id_list"].__setitem__(0, ["a", 1, 17])),
    "a truth value": damaged(lambda q: q["id_list"].__setitem__(0, [True, 2, 17])),
    "negative": damaged(lambda q: q["id_list"].__setitem__(0, [-1, 2, 17])),
    "out of range": damaged(lambda q: q["id_list"].__setitem__(0, [900, 812, 17])),
    "ends elsewhere": damaged(lambda q: q["id_list"].__setitem__(0, [33, 812, 18])),
    "repeats": damaged(lambda q: q["id_list"].__setitem__(0, [812, 812, 17])),
    "holds the query": damaged(lambda q: q["id_list"].__setitem__(0, [17, 812, 17])),
    "mixed lengths": damaged(lambda q: q["id_list"].__setitem__(0, [812, 17])),
    "no sequences": damaged(lambda q: q.update(id_list=[])),
    "no scores": damaged(lambda q: q.pop("score_list")),
    "too few scores": damaged(lambda q: q["score_list"].pop()),
    "score is text": damaged(lambda q: q["score_list"].__setitem__(0, "0.3")),
    "score is huge": damaged(lambda q: q["score_list"].__setitem__(0, 10**400)),
    "score is null": damaged(lambda q: q["beams"][0]["shots"][0].update(score=None)),
    "beams disagree": damaged(lambda q: q["beams"][0]["shots"][0].update(id=7)),
    "too few beams": damaged(lambda q: q["beams"].pop()),
    "beam is a list": damaged(lambda q: q["beams"].__setitem__(0, [])),
    "query is a list": lambda text: json.dumps({"17": [1]}),
    "key with zeros": lambda text: text.replace('"17"', '"017"'),
}


@pytest.mark.parametrize("damage", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_query_is_named(tmp_path: Path, damage: Callable[[str], str]) -> None:
    path = tmp_path / "b.json"
    write_beams(path, copy.deepcopy(BEAMS))
    path.write_text(damage(path.read_text()))
    with pytest.raises(UserError, match=r"b\.json: query 0?17"):
        read_beams(path, rows=900)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1]",
        "{}",
        '{"_meta": 1}',
        "[" * 100_000,
        '{"17": {}, "17": {}}',
        '{"17": {"id_list": [[NaN]]}}',
        "\x00",
    ],
)
def test_a_foreign_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "b.json").write_text(text)
    with pytest.raises(UserError, match=r"b\.json"):
        read_beams(tmp_path / "b.json")


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    write_beams(path, BEAMS)
    whole = path.read_bytes().rstrip()
    for length in range(0, len(whole), 37):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"b\.json"):
            read_beams(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.json"):
        read_beams(tmp_path / "none.json")
