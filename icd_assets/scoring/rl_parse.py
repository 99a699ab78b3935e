"""One query of an RL data file, checked field by field; every complaint names the file and the query."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, TypeVar

from icd_assets.errors import UserError
from icd_assets.scoring.rl_data import AnsweredPointer, RlQuery

_T = TypeVar("_T", int, str)

_EVAL_MODES = (None, "vqaEval", "fallback", "error")
_NUMBERS = ("behavior_logprob", "beam_score", "logprob_score", "temperature", "similarity_score")
_LABELS = ("vqa_gt_prob", "vqa_rel_token_f1", "vqa_rel_edit_sim", "vqa_rel_score")


class Record:
    """The value under one query key. ``row`` is the query's train row, ``candidates`` its raw candidates."""

    def __init__(self, path: Path, key: str, value: Any, n_rows: int | None) -> None:
        self._path, self._key, self._n_rows = path, key, n_rows
        if not re.fullmatch("[0-9]{1,12}", key):
            raise self.error("the key is not a row of the train split")
        self.row = int(key)
        self._check_row(self.row, "the query")
        if not isinstance(value, dict):
            raise self.error("it is not an object")
        if "pointer_candidates" not in value and "id_list" in value:
            raise UserError(f"{path} is beam data (id_list), which has no answers to reward; give RL data.")
        self._value = value
        self.candidates = self._objects("pointer_candidates")

    def error(self, problem: str) -> UserError:
        return UserError(f"{self._path}: query {self._key}: {problem}; make rl_data again or fix the file.")

    def query(self, *, local: bool) -> RlQuery:
        """``local``: pointers are positions in ``candidate_pool_ids`` (generation 4), else rows."""
        pool = self._pool() if local else self._union()
        position = {row: at for at, row in enumerate(pool)}
        if self.row in position:
            raise self.error("its pool holds the query itself")
        pointers = [self._local(c, pool) if local else self._global(c, position) for c in self.candidates]
        if local and len(set(pointers)) < len(pointers):
            twice = next(pointer for pointer in pointers if pointers.count(pointer) > 1)
            raise self.error(f"pointer {list(twice)} occurs twice")
        header = self._value.get("query", self._value)
        if not isinstance(header, dict):
            raise self.error("'query' is not an object")
        if header.get("query_id", self.row) != self.row:
            raise self.error(f"'query_id' is {header['query_id']!r}")
        return RlQuery(
            row=self.row,
            candidate_pool_ids=pool,
            candidates=tuple(self._candidate(*pair) for pair in zip(self.candidates, pointers, strict=True)),
            question_id=self._typed(header, "question_id", int),
            image_id=self._typed(header, "image_id", int),
            question=self._typed(header, "question", str),
            gt_answers_raw=self._answers(header, "gt_answers_raw"),
            gt_answers_norm=self._answers(header, "gt_answers_norm"),
        )

    # ---- pools and pointers ------------------------------------------------------------------------------

    def _pool(self) -> tuple[int, ...]:
        if "candidate_pool_ids" not in self._value:
            raise self.error("pointers are local (with pointer_global), but 'candidate_pool_ids' is missing")
        pool = self._integers(self._value["candidate_pool_ids"], "'candidate_pool_ids'")
        for row in pool:
            self._check_row(row, "'candidate_pool_ids'")
        return pool

    def _union(self) -> tuple[int, ...]:
        rows = {row for c in self.candidates for row in self._integers(c.get("pointer"), "'pointer'")}
        for row in rows:
            self._check_row(row, "'pointer'")
        return tuple(sorted(rows))

    def _local(self, candidate: dict[str, Any], pool: tuple[int, ...]) -> tuple[int, ...]:
        pointer = self._integers(candidate.get("pointer"), "'pointer'")
        for place in pointer:
            if not 0 <= place < len(pool):
                raise self.error(f"pointer {list(pointer)} leaves the pool of {len(pool)}")
        rows = tuple(pool[place] for place in pointer)
        if self._integers(candidate["pointer_global"], "'pointer_global'") != rows:
            raise self.error(
                f"pointer {list(pointer)} means rows {list(rows)}, but 'pointer_global' says otherwise"
            )
        if candidate.get("pointer_pos", list(rows)) != list(rows):
            raise self.error("'pointer_pos' stands beside a local pointer and differs from 'pointer_global'")
        return pointer

    def _global(self, candidate: dict[str, Any], position: dict[int, int]) -> tuple[int, ...]:
        pointer = self._integers(candidate.get("pointer"), "'pointer'")
        if candidate.get("pointer_pos", list(pointer)) != list(pointer):
            raise self.error("'pointer_pos' differs from the global 'pointer', so the pool is not known")
        return tuple(position[row] for row in pointer)

    # ---- labels ------------------------------------------------------------------------------------------

    def _candidate(self, c: dict[str, Any], pointer: tuple[int, ...]) -> AnsweredPointer:
        accuracy = self._number(c, "vqa_acc_score")
        correct = self._typed(c, "vqa_correct", int)
        mode = c.get("vqa_eval_mode")
        failed = c.get("eval_failed", False)
        if accuracy is not None and not 0 <= accuracy <= 1:
            raise self.error(f"'vqa_acc_score' is {accuracy}, not within 0 and 1")
        if correct not in (None, 0, 1):
            raise self.error(f"'vqa_correct' is {correct}, neither 0 nor 1")
        cider = self._number(c, "cider")
        if cider is not None and not 0 <= cider <= 10:
            raise self.error(f"'cider' is {cider}, not within 0 and 10")
        if cider is not None and (accuracy, correct) != (None, None):
            raise self.error("a candidate has both 'cider' and VQA labels")
        if mode not in _EVAL_MODES:
            raise self.error(f"'vqa_eval_mode' is {mode!r}")
        if not isinstance(failed, bool):
            raise self.error(f"'eval_failed' is {failed!r}")
        if mode == "vqaEval" and None not in (accuracy, correct) and correct != int((accuracy or 0) > 0):
            raise self.error(f"'vqa_correct' is {correct} although 'vqa_acc_score' is {accuracy}")
        source = self._typed(c, "source", str)
        method = self._typed(c, "gen_method", str)
        if None not in (source, method) and source != method:
            raise self.error(f"'source' is {source!r}, but 'gen_method' is {method!r}")
        refresh = self._typed(c, "round", int) or 0
        if refresh < 0:
            raise self.error(f"'round' is {refresh}")
        return AnsweredPointer(
            pointer=pointer,
            source=source or method,
            round=refresh,
            beam_rank=self._typed(c, "beam_rank", int),
            vqa_raw_generation=self._typed(c, "vqa_raw_generation", str),
            vqa_pred_answer=self._typed(c, "vqa_pred_answer", str) or "",
            vqa_correct=correct,
            vqa_acc_score=accuracy,
            vqa_eval_mode=mode,
            eval_split_used=self._typed(c, "eval_split_used", str),
            eval_failed=failed,
            cider=cider,
            **{name: self._number(c, name) for name in (*_NUMBERS, *_LABELS)},
        )

    def _answers(self, header: dict[str, Any], key: str) -> tuple[str, ...]:
        """Texts, or the annotators' records of generation 5."""
        raw = header.get(key, [])
        if not isinstance(raw, list):
            raise self.error(f"{key!r} is not a list")
        texts = []
        for answer in raw:
            text = answer.get("answer") if isinstance(answer, dict) else answer
            if not isinstance(text, str):
                raise self.error(f"{key!r} holds something that is not a text")
            texts.append(text)
        return tuple(texts)

    # ---- kinds of values ---------------------------------------------------------------------------------

    def _check_row(self, row: int, what: str) -> None:
        if row < 0 or (self._n_rows is not None and row >= self._n_rows):
            raise self.error(f"{what}: {row} is not a row of a train split of {self._n_rows}")

    def _objects(self, key: str) -> list[dict[str, Any]]:
        value = self._value.get(key)
        if not isinstance(value, list) or not all(isinstance(element, dict) for element in value):
            raise self.error(f"{key!r} is missing or not a list of objects")
        return value

    def _integers(self, value: Any, what: str) -> tuple[int, ...]:
        if not isinstance(value, list) or not value or not all(type(number) is int for number in value):
            raise self.error(f"{what} is {value!r}, not a list of integers")
        if len(set(value)) < len(value):
            raise self.error(f"{what} holds a number twice: {value}")
        return tuple(value)

    def _typed(self, record: dict[str, Any], key: str, kind: type[_T]) -> _T | None:
        value = record.get(key)
        if value is not None and type(value) is not kind:
            raise self.error(f"{key!r} is {value!r}, not of type {kind.__name__}")
        return value

    def _number(self, record: dict[str, Any], key: str) -> float | None:
        value = record.get(key)
        if value is None:
            return None
        if type(value) not in (int, float) or not abs(value) <= sys.float_info.max:  # also for NaN
            raise self.error(f"{key!r} is {repr(value)[:60]}, not a finite number")
        return float(value)
