"""RL data files: what we write, the generations that we read, and every way to be refused."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest

from icd_assets.errors import UserError
from icd_assets.scoring.rewards import RewardConfig
from icd_assets.scoring.rl_data import AnsweredPointer, RlData, RlQuery
from icd_assets.scoring.rl_file import read_rl_data, write_rl_data
from icd_assets.scoring.rl_signal import facts
from icd_assets.scoring.training_rows import training_rows

POOL = (30, 7, 12, 99)


def query(row: int = 17) -> RlQuery:
    first = AnsweredPointer(
        pointer=(2, 0),
        source="beam",
        behavior_logprob=-1.25,
        beam_rank=0,
        beam_score=0.031,
        logprob_score=-8.2,
        vqa_raw_generation="tennis\nQuestion",
        vqa_pred_answer="tennis\n",
        vqa_correct=1,
        vqa_acc_score=0.6,
        vqa_rel_token_f1=1.0,
        vqa_rel_edit_sim=1.0,
        vqa_rel_score=1.0,
        vqa_eval_mode="vqaEval",
        eval_split_used="train",
    )
    second = AnsweredPointer(
        pointer=(1, 3),
        source="retrieval",
        round=1,
        similarity_score=0.91,
        vqa_pred_answer="",
        vqa_correct=0,
        vqa_acc_score=0.0,
        vqa_gt_prob=0.01,
        vqa_eval_mode="vqaEval",
    )
    return RlQuery(
        row=row,
        question_id=170005,
        image_id=42,
        question="What sport is «this»?",
        gt_answers_raw=("tennis",) * 3,
        gt_answers_norm=("tennis",) * 3,
        candidate_pool_ids=POOL,
        pointers=(first, second),
    )


DATA = RlData((query(17), query(3)), {"vlm": "tiny", "gt_prob": False})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "rl_data.json"


@pytest.fixture
def content(path):
    write_rl_data(path, DATA)
    return json.loads(path.read_text(encoding="utf-8"))


def test_round_trip_and_same_bytes(path):
    write_rl_data(path, DATA)
    first = path.read_bytes()
    found = read_rl_data(path, n_rows=100)
    assert found == RlData((query(3), query(17)), {"generation": 4, **DATA.meta}, 4)
    write_rl_data(path, RlData(found.queries[::-1], DATA.meta))
    assert path.read_bytes() == first


def test_upstream_finds_what_it_looks_for(content):
    assert list(content) == ["3", "17", "_meta"]  # its freshness test reads the first value
    candidate = content["17"]["pointer_candidates"][0]
    assert candidate["pointer"] == [2, 0]
    assert candidate["pointer_global"] == [12, 30]
    assert "pointer_pos" not in candidate
    assert candidate["gen_method"] == candidate["source"] == "beam"
    always = {
        "vqa_eval_mode",
        "eval_failed",
        "vqa_correct",
        "vqa_acc_score",
        "vqa_rel_score",
        "vqa_gt_prob",
        "behavior_logprob",
        "round",
        "beam_rank",
        "temperature",
    }
    assert all(always <= set(c) for c in content["17"]["pointer_candidates"])
    assert content["17"]["candidate_pool_ids"] == list(POOL)
    assert content["17"]["query"]["query_id"] == 17


def test_the_bytes_are_those_of_earlier_versions(path):
    caption = AnsweredPointer(pointer=(0, 1), source="beam", vqa_pred_answer="a dog", cider=1.25)
    write_rl_data(path, RlData((query(17), query(3).model_copy(update={"pointers": (caption,)})), DATA.meta))
    assert path.read_bytes() == (Path(__file__).parent / "golden_rl_data.json").read_bytes()


def test_every_field_is_described_in_a_sentence():
    for model in (AnsweredPointer, RlQuery):
        for field in model.model_fields.values():
            assert field.description
            assert field.description.endswith(".")


def test_null_is_as_good_as_an_absent_key(path, content):
    del content["3"]["pointer_candidates"][0]["source"]
    content["17"]["pointer_candidates"][1] |= {"round": None, "vqa_pred_answer": None, "eval_failed": None}
    path.write_text(json.dumps(content))
    first, second = read_rl_data(path).queries
    assert first == query(3)  # gen_method says it, too
    assert second.pointers[1] == query().pointers[1].model_copy(update={"round": 0})


def test_what_cannot_be_written(path):
    with pytest.raises(ValueError, match="has no pointers"):
        write_rl_data(path, RlData((query().model_copy(update={"pointers": ()}),)))
    with pytest.raises(ValueError, match="generation 4"):
        write_rl_data(path, replace(DATA, generation=3))
    infinite = query().pointers[0].model_copy(update={"beam_score": float("inf")})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_rl_data(path, RlData((query().model_copy(update={"pointers": (infinite,)}),)))


def _in(content, *keys):
    for key in keys:
        content = content[key]
    return content


POINTER = ("17", "pointer_candidates", 0)


@pytest.mark.parametrize(
    ("where", "value", "says"),
    [
        (("17", "candidate_pool_ids"), [30, 7, 12, 12], "query 17: 'candidate_pool_ids' holds a number twice"),
        (("17", "candidate_pool_ids"), [30, 7, 12, 100], "query 17: 'candidate_pool_ids': 100 is not a row"),
        (("17", "candidate_pool_ids"), [30, 7, 12, -1], "-1 is not a row"),
        (("17", "candidate_pool_ids"), [30, 7, 12, 17], "query 17: its pool holds the query itself"),
        (("17", "candidate_pool_ids"), [30, 7, 12, 98], "'pointer_global' says otherwise"),
        (("17", "candidate_pool_ids"), [30, 7, 12, 99, 5], "query 17: the pool holds 5 rows, the first query's 4"),
        (("17", "candidate_pool_ids"), None, "not a list of integers"),
        ((*POINTER, "pointer"), [2, 4], r"query 17: pointer \[2, 4\] leaves the pool of 4"),
        ((*POINTER, "pointer"), [-2, 0], "leaves the pool"),
        ((*POINTER, "pointer"), [2, 2], "'pointer' holds a number twice"),
        ((*POINTER, "pointer"), [2.0, 0], "not a list of integers"),
        ((*POINTER, "pointer"), [], "not a list of integers"),
        ((*POINTER, "pointer_global"), [30, 12], "'pointer_global' says otherwise"),
        ((*POINTER, "pointer_pos"), [2, 0], "'pointer_pos' stands beside a local pointer"),
        ((*POINTER, "vqa_acc_score"), 30, "'vqa_acc_score' is 30, not at most 1"),
        ((*POINTER, "vqa_acc_score"), "much", "'vqa_acc_score' is 'much', not a finite number"),
        ((*POINTER, "vqa_acc_score"), 0.0, "'vqa_correct' is 1 although 'vqa_acc_score' is 0.0"),
        ((*POINTER, "vqa_correct"), 2, "'vqa_correct' is 2, not at most 1"),
        ((*POINTER, "vqa_correct"), 0.5, "'vqa_correct' is 0.5, not a valid integer"),
        ((*POINTER, "vqa_correct"), "yes", "'vqa_correct' is 'yes', not a valid integer"),
        ((*POINTER, "vqa_eval_mode"), "guess", "'vqa_eval_mode' is 'guess', not 'vqaEval', 'fallback' or 'error'"),
        ((*POINTER, "eval_failed"), 2, "'eval_failed' is 2, not a valid boolean"),
        ((*POINTER, "gen_method"), 3, "'gen_method' is 3, not a valid string"),
        ((*POINTER, "beam_rank"), 1.5, "'beam_rank' is 1.5, not a valid integer"),
        (("17", "query", "image_id"), [42], r"'image_id' is \[42\], not a valid integer"),
        ((*POINTER, "gen_method"), "sample", "'source' is 'beam', but 'gen_method' is 'sample'"),
        ((*POINTER, "round"), -1, "'round' is -1"),
        ((*POINTER, "vqa_gt_prob"), [1], r"'vqa_gt_prob' is \[1\], not a finite number"),
        (("17", "query", "query_id"), 18, "query 17: 'query_id' is 18"),
        (("17", "query", "gt_answers_raw"), [None], "not a text"),
        (("17", "query"), [1], "'query' is not an object"),
        (("17", "pointer_candidates"), {}, "'pointer_candidates' is missing or not a list"),
        (("17",), [], "query 17: it is not an object"),
        (("_meta",), 3, "'_meta' is not an object"),
    ],
)
def test_a_broken_field_names_the_query(path, content, where, value, says):
    _in(content, *where[:-1])[where[-1]] = value
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=says):
        read_rl_data(path, n_rows=100)


PREFIX = ("17", "prefix_candidates", 0)


@pytest.mark.parametrize(
    ("where", "value", "says"),
    [
        (("17", "prefix_candidates"), {}, "'prefix_candidates' is missing or not a list"),
        (PREFIX, 3, "not a list of objects"),
        ((*PREFIX, "pointer"), [], "'pointer' is .., not a list of integers"),
        ((*PREFIX, "pointer"), [4], r"pointer \[4\] leaves the pool of 4"),
        ((*PREFIX, "pointer"), [1], "'pointer_global' says otherwise"),
        ((*PREFIX, "pointer_global"), None, "'pointer_global' is None"),
        ((*PREFIX, "vqa_correct"), 0, "'vqa_correct' is 0 although"),
        ((*PREFIX, "vqa_acc_score"), 30, "'vqa_acc_score' is 30, not at most 1"),
        (("17", "prefix_candidates", 1), {"pointer": [2], "pointer_global": [12]}, r"pointer \[2\] occurs twice"),
        (PREFIX, {"pointer": [2, 1], "pointer_global": [12, 7]}, r"holds \[2, 1\], which is no shorter than"),
        (("17", "query", "role"), "test", "'role' is 'test', not 'train' or 'validation'"),
        (("17", "query", "role"), ["train"], r"'role' is \['train'\], not 'train' or"),
        (("17", "query", "role"), None, "some queries of the file have a 'role' and some have none"),
    ],
)
def test_a_broken_prefix_or_role_names_the_query(path, where, value, says):
    own = query().pointers[0]
    shorter = tuple(own.model_copy(update={"pointer": pointer}) for pointer in ((2,), (3,)))
    queries = [query(row).model_copy(update={"prefixes": shorter, "role": "train"}) for row in (3, 17)]
    write_rl_data(path, RlData(tuple(queries)))
    assert read_rl_data(path, n_rows=100).queries == tuple(queries)
    content = json.loads(path.read_text(encoding="utf-8"))
    _in(content, *where[:-1])[where[-1]] = value
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=f"query 17: .*{says}"):
        read_rl_data(path, n_rows=100)


def test_what_is_not_finite_in_a_prefix_is_counted_and_never_trained_on(path):
    own = query().pointers[0]
    shorter = own.model_copy(update={"pointer": (2,)})
    write_rl_data(path, RlData((query(3).model_copy(update={"prefixes": (shorter,)}),)))
    content = json.loads(path.read_text(encoding="utf-8"))
    content["3"]["prefix_candidates"][0]["vqa_acc_score"] = float("nan")
    path.write_text(json.dumps(content))
    data = read_rl_data(path)
    assert data.not_finite == {"vqa_acc_score": 1}
    assert [len(row.pointers[0]) for row in training_rows(data, RewardConfig(), prefixes=True)] == [2]


def test_mixed_pointers_are_refused(path, content):
    del content["17"]["pointer_candidates"][1]["pointer_global"]
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="query 17: some pointers of the file are local"):
        read_rl_data(path)


def test_local_pointers_need_a_pool(path, content):
    del content["3"]["candidate_pool_ids"]
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"query 3: .*'candidate_pool_ids' is missing"):
        read_rl_data(path)


def test_a_repeated_pointer_and_differing_shots_are_refused(path, content):
    twice = deepcopy(content)
    twice["17"]["pointer_candidates"][1] = twice["17"]["pointer_candidates"][0]
    path.write_text(json.dumps(twice))
    with pytest.raises(UserError, match=r"query 17: pointer \[2, 0\] occurs twice"):
        read_rl_data(path)
    content["17"]["pointer_candidates"][0] |= {"pointer": [2], "pointer_global": [12]}
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="query 17: a pointer has 1 positions, the first one has 2"):
        read_rl_data(path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"17": {}, "17": {}}', "the key '17' occurs twice"),
        ('{"a": {}}', "query a: the key is not a row"),
        ('{"-1": {}}', "query -1: the key is not a row"),
        ('{"200": {"pointer_candidates": []}}', "query 200: the query: 200 is not a row"),
        ('{"1": {"pointer_candidates": []}, "01": {"pointer_candidates": []}}', "different spellings"),
        ('{"1": {"id_list": [[1, 2]], "score_list": [0.1]}}', "is beam data"),
        ("{}", "holds no queries"),
        ('{"_meta": {}}', "holds no queries"),
        ("[]", "is not RL data"),
        ('{"1": {"pointer_candidates": [{"pointer": [NaN, 2]}]}}', "not a list of integers"),
        ('{"1": {"query": {"image_id": {}}, "pointer_candidates": [{"pointer": [3, 2]}]}}', "'image_id' is {}"),
        (
            '{"1": {"query": {"question_id": [2]}, "pointer_candidates": [{"pointer": [3, 2]}]}}',
            "'question_id' is ",
        ),
        (
            '{"1": {"query": {"query_id": NaN}, "pointer_candidates": [{"pointer": [3]}, 4]}}',
            "not a list of objects",
        ),
        ('{"1": {"pointer_cand', "not complete JSON"),
    ],
)
def test_foreign_and_truncated_files(path, text, says):
    path.write_text(text)
    with pytest.raises(UserError, match=says):
        read_rl_data(path, n_rows=100)


def test_generation_2_and_3_pools_are_the_union(path):
    candidates = [
        {"pointer": [12, 5], "gen_method": "beam", "vqa_correct": 1, "vqa_acc_score": 1.0},
        {"pointer": [5, 40], "gen_method": "random", "vqa_correct": 0, "vqa_acc_score": 0.0},
    ]
    path.write_text(json.dumps({"17": {"pointer_candidates": candidates}}))
    found = read_rl_data(path, n_rows=100)
    (only,) = found.queries
    assert found.generation == 2
    assert only.candidate_pool_ids == (5, 12, 40)
    assert [c.pointer for c in only.pointers] == [(1, 0), (0, 2)]
    assert only.rows_of(only.pointers[0]) == (12, 5)
    assert only.question_id is None
    for candidate in candidates:
        candidate["pointer_pos"] = candidate["pointer"]
    path.write_text(json.dumps({"_meta": {}, "17": {"pointer_candidates": candidates}}))
    assert read_rl_data(path).generation == 3
    candidates[0]["pointer_pos"] = [0, 1]
    path.write_text(json.dumps({"17": {"pointer_candidates": candidates}}))
    with pytest.raises(UserError, match="query 17: 'pointer_pos' differs"):
        read_rl_data(path)


def test_generation_5_has_accuracy_alone(path):
    raw = {
        "query_id": 17,
        "question_id": 170005,
        "question": "What?",
        "gt_answers_raw": [{"answer": "tennis", "answer_id": 1}],
        "pointer_candidates": [{"pointer": [12, 5], "vqa_pred_answer": "tennis", "vqa_acc_score": 0.6}],
    }
    path.write_text(json.dumps({"17": raw, "_meta": {"train_ids": [17]}}))
    found = read_rl_data(path)
    (only,) = found.queries
    assert found.generation == 5
    assert (only.question_id, only.gt_answers_raw) == (170005, ("tennis",))
    assert only.pointers[0].vqa_correct is None
    assert only.pointers[0].positive


def test_captions_round_trip_with_null_where_vqa_has_labels(path):
    captions = tuple(
        AnsweredPointer(
            pointer=pointer, source="beam", vqa_pred_answer="a dog", eval_split_used="train", cider=score
        )
        for pointer, score in (((0, 1), 1.25), ((1, 0), 0.0))
    )
    data = RlData((query().model_copy(update={"question": "", "pointers": captions}),))
    write_rl_data(path, data)
    assert read_rl_data(path).queries == data.queries
    written = json.loads(path.read_text(encoding="utf-8"))["17"]["pointer_candidates"]
    assert [candidate["cider"] for candidate in written] == [1.25, 0.0]
    labels = ("vqa_correct", "vqa_acc_score", "vqa_gt_prob", "vqa_rel_score", "vqa_eval_mode")
    assert [written[0][name] for name in labels] == [None] * 5


def test_vqa_data_have_no_key_for_captions(content):
    assert all("cider" not in candidate for candidate in content["17"]["pointer_candidates"])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"cider": -0.1}, "'cider' is -0.1, not at least 0"),
        ({"cider": 120.5}, "'cider' is 120.5, not at most 10"),
        ({"cider": "1.2"}, "'cider' is '1.2', not a finite number"),
        ({"cider": True}, "'cider' is True, not a finite number"),
        ({"cider": 1.2}, "a pointer has both 'cider' and VQA labels"),
    ],
)
def test_a_bad_cider_is_refused(path, content, changes, sentence):
    content["17"]["pointer_candidates"][0] |= changes
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=f"query 17: {sentence}"):
        read_rl_data(path)


def changed(path, content, **fields):
    """``content`` with other values in the first pointer of both queries, read again."""
    for key in ("3", "17"):
        content[key]["pointer_candidates"][0] |= fields
    path.write_text(json.dumps(content))
    return read_rl_data(path, n_rows=100)


@pytest.mark.parametrize(
    ("field", "value", "read"),
    [
        ("vqa_correct", True, 1),
        ("vqa_correct", 1.0, 1),
        ("vqa_correct", "1", 1),
        ("vqa_acc_score", "0.6", 0.6),
        ("vqa_acc_score", True, 1.0),
        ("beam_rank", 0.0, 0),
        ("eval_failed", 1, True),
        ("eval_failed", "false", False),
        ("beam_score", "3e-2", 0.03),
    ],
)
def test_a_number_of_another_type_is_converted_and_counted(path, content, field, value, read):
    found = changed(path, content, **{field: value})
    first = found.queries[0].pointers[0]
    assert (getattr(first, field), type(getattr(first, field))) == (read, type(read))
    assert found.converted == {field: 2}
    assert found.repairs() == f"converted: {field} 2 times"
    assert facts(found, RewardConfig(), "vqa")[f"converted_{field}"] == 2


def test_an_integer_where_a_number_may_be_is_none_of_that(path, content):
    found = changed(path, content, vqa_acc_score=1, beam_score=0)
    assert (found.converted, found.repairs()) == ({}, "")


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_what_is_not_finite_counts_only_where_it_is_read(path, content, word):
    content["17"]["pointer_candidates"][0]["vqa_gt_prob"] = "here"
    content["_meta"]["loss"] = "here"
    path.write_text(json.dumps(content).replace('"here"', word))
    found = read_rl_data(path, n_rows=100)
    first = found.queries[1].pointers[0]
    assert (first.vqa_gt_prob, first.not_finite, found.meta["loss"]) == (None, {"vqa_gt_prob"}, None)
    assert found.repairs() == "left out as not finite: vqa_gt_prob 1 times"
    whole = training_rows(found, RewardConfig())
    assert [len(row.pointers) for row in whole] == [2, 2]
    assert whole == training_rows(DATA, RewardConfig())[::-1]
    counted = facts(found, RewardConfig(mode="hard_only"), "vqa")
    assert counted["not_finite_vqa_gt_prob"] == 1
    assert "candidates_without_reward" not in counted
    gt_prob = RewardConfig(mode="hard01_plus_gtprob")
    assert facts(found, gt_prob, "vqa")["candidates_without_reward"] == 1
    assert facts(found, gt_prob, "vqa")["candidates"] == 3
    write_rl_data(path, replace(found, generation=4))  # what is written has null, and no trace of the field
    again = json.loads(path.read_text())
    assert again["17"]["pointer_candidates"][0]["vqa_gt_prob"] is None
    assert "not_finite" not in again["17"]["pointer_candidates"][0]


def test_a_label_that_is_read_and_not_finite_drops_its_pointer(path, content):
    content["17"]["pointer_candidates"][0]["vqa_acc_score"] = float("nan")
    path.write_text(json.dumps(content))
    found = read_rl_data(path, n_rows=100)
    assert [len(row.pointers) for row in training_rows(found, RewardConfig())] == [2, 1]
    assert [len(row.pointers) for row in training_rows(found, RewardConfig(mode="hard_only"))] == [2, 2]
    for query in (3, 17):
        for candidate in content[str(query)]["pointer_candidates"]:
            candidate["vqa_acc_score"] = float("inf")
    path.write_text(json.dumps(content))
    assert training_rows(read_rl_data(path), RewardConfig()) == []


@pytest.mark.parametrize("written", ["170005", "vizwiz_17"])
def test_an_id_as_a_text(path, content, written):
    for key in ("3", "17"):
        content[key]["query"] |= {"question_id": written, "image_id": "42", "query_id": key}
    path.write_text(json.dumps(content))
    found = read_rl_data(path, n_rows=100)
    assert {(query.question_id, query.image_id) for query in found.queries} == {(written, 42)}
    assert found.converted == {"image_id": 2, "query_id": 2}


def test_numbers_of_a_table_with_gaps(path, content):
    """What a table's library writes of a column that has gaps: 12.0 for 12, NaN for what is not there."""
    content["3"]["query"] |= {"question_id": 170005.0, "image_id": 42.0, "query_id": 3.0, "question": float("nan")}
    content["17"]["query"] |= {"question_id": float("nan"), "image_id": float("nan"), "question": 7}
    path.write_text(json.dumps(content))
    found = {query.row: query for query in read_rl_data(path, n_rows=100).queries}
    assert [found[3].question_id, found[3].image_id, found[3].question] == [170005, 42, None]
    assert [found[17].question_id, found[17].image_id, found[17].question] == [None, None, "7"]
    assert read_rl_data(path).converted == {"image_id": 2, "query_id": 1, "question": 2, "question_id": 2}


def test_answers_that_are_numbers_and_keys_that_are_null(path, content):
    for candidate in content["17"]["pointer_candidates"]:
        candidate |= {"vqa_raw_generation": 7, "vqa_pred_answer": 7.5, "pointer_pos": None}
        candidate |= {"gen_method": float("nan"), "source": None}
    path.write_text(json.dumps(content))
    data = read_rl_data(path, n_rows=100)
    query = next(query for query in data.queries if query.row == 17)
    assert {(one.vqa_raw_generation, one.vqa_pred_answer, one.source) for one in query.pointers} == {
        ("7", "7.5", None)
    }
    assert data.not_finite == {"source": len(query.pointers)}
    assert data.converted == dict.fromkeys(("vqa_pred_answer", "vqa_raw_generation"), len(query.pointers))


def test_answers_that_are_null_are_none(path, content):
    content["17"]["query"] |= {"gt_answers_raw": None, "gt_answers_norm": None}
    path.write_text(json.dumps(content))
    assert read_rl_data(path).queries[1].gt_answers_raw == ()
