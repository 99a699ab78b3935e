"""RL data of every generation; what is accepted of the fourth is written again."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from icd_assets.scoring.rl_data import RlData
from icd_assets.scoring.rl_file import read_rl_data, write_rl_data

SUFFIX = ".json"


def seeds() -> Iterable[bytes]:
    yield (
        b'{"3": {"query": {"query_id": 3, "question_id": 9, "question": "?", "gt_answers_raw": ["a"]}, '
        b'"candidate_pool_ids": [1, 2, 4], "pointer_candidates": [{"pointer": [0, 2], "pointer_global": [1, 4], '
        b'"gen_method": "beam", "beam_rank": 0, "beam_score": -0.5, "vqa_correct": 1, "vqa_acc_score": 0.9, '
        b'"vqa_gt_prob": NaN, "vqa_eval_mode": "vqaEval"}]}, "_meta": {"vqa_model": "x", "n": [1]}}'
    )
    yield (
        b'{"0": {"query_id": "0", "pointer_candidates": [{"pointer": [5, 6], "pointer_pos": [5, 6], '
        b'"vqa_correct": true, "vqa_acc_score": "1.0"}]}}'
    )


def read(path: Path) -> RlData:
    data = read_rl_data(path)
    if data.generation == 4 and all(query.pointers for query in data.queries):
        write_rl_data(path.with_suffix(".again"), data)
    return data
