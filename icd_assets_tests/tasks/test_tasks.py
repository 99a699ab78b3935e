"""What every task promises to the stages, and that none of them asks which task it is."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

import icd_assets
from icd_assets.errors import UserError
from icd_assets.experiment.catalog import Catalog
from icd_assets.experiment.catalog_entries import DatasetEntry
from icd_assets.scoring.rewards import Label, RewardSettings, reads
from icd_assets.tasks import TASKS, SplitFiles, Task
from icd_assets.vlm.backend import Generation
from icd_assets.vlm.prompts import PromptStyle
from icd_assets_tests.worlds.vqa_files import item

PACKAGE = Path(icd_assets.__file__).parent
every_task = pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
# Labels of an answer; the others of a metric's labels are for the file alone. ``vqa_gt_prob`` is measured.
GIVEN = set(get_args(Label)) - {"vqa_gt_prob"}
# An answer that is right against itself, of tasks that do not take words of any kind.
GOLD: dict[str, str] = {}


@pytest.fixture(scope="module")
def corpus():
    """Of the second form of an answer, a letter, only multiple choice makes something."""
    return [replace(item(0), answers=("a dog runs", "B")), replace(item(1), answers=("two cats", "C"))]


@every_task
def test_names_of_beam_data_are_read_back(task: Task):
    assert re.fullmatch("[a-z_]+", task.name)  # a hyphen ends the task in beam data's file names


@every_task
def test_the_metric_gives_the_labels_that_rewards_read(task: Task, corpus):
    metric = task.metric(corpus)
    assert metric.name == task.metric_name
    gold = GOLD.get(task.name, "a dog runs")
    answers = [metric.clean(f" {gold}\nQuestion:"), metric.clean("")]
    golds = [(gold, "B"), corpus[1].answers]
    right, _ = metric.labels(answers, golds)
    assert right.keys() & GIVEN == task.labels & GIVEN
    assert metric.scores(answers, golds)[1] == 0
    score = next(right[label] for label in ("vqa_acc_score", "cider") if label in right)
    assert score > 0
    if "vqa_gt_prob" in task.labels:
        weights = metric.gold_weights(golds[0])
        assert gold in weights and all(0 < weight <= 1 for weight in weights.values())
        task.require_gt_prob()
    else:
        with pytest.raises(ValueError, match="vqa_gt_prob"):
            metric.gold_weights(golds[0])


@every_task
def test_the_default_reward_is_one_of_the_tasks_own(task: Task):
    assert reads(task.default_reward) <= task.labels
    assert task.reward(RewardSettings()).mode == task.default_reward


@every_task
def test_wording_and_decoding_are_those_of_the_model_where_the_task_is_silent(task: Task):
    PromptStyle(**task.prompt)
    Generation(**task.generation)
    catalog = Catalog.load()
    for name, model in catalog.models.items():
        asked = catalog.prompted(name, task.name)
        assert asked.prompt == PromptStyle(**{**model.prompt.model_dump(), **task.prompt})
        assert asked.generation == Generation(**{**model.generation.model_dump(), **task.generation})


@pytest.mark.parametrize("entry", Catalog.load().datasets.values(), ids=lambda entry: entry.name)
def test_the_catalogs_files_are_those_of_the_task_and_can_be_missing(entry: DatasetEntry, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    task = TASKS[entry.task]
    for files in (entry.train, entry.validation):
        assert isinstance(files, task.files)
        assert files.variables
        with pytest.raises(UserError, match=rf"it was not found as .*, or set .*{files.variables[0]}"):
            files.locate("it")


@every_task
def test_the_form_of_its_files_is_whole(task: Task):
    assert issubclass(task.files, SplitFiles) and not task.files.__abstractmethods__


def test_a_part_cannot_be_forgotten():
    parts = {name: getattr(TASKS["vqa"], name) for name in Task.__dataclass_fields__}
    for name in parts:
        with pytest.raises(TypeError, match=f"missing 1 required keyword-only argument: '{name}'"):
            Task(**{key: value for key, value in parts.items() if key != name})

    class Half(SplitFiles):
        def locate(self, what: str) -> list[Path]:
            return []

    with pytest.raises(TypeError, match="abstract"):
        Half.model_validate({"images": "{image_id}"})


def test_no_stage_asks_which_task_it_is():
    """Outside its folder, the name of a task is compared with nothing: what differs is a part of the task."""
    names = set(TASKS)
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            asking: list[ast.AST] = []
            if isinstance(node, ast.Compare):
                asking = [node.left, *node.comparators]
            elif isinstance(node, ast.MatchValue):
                asking = [node.value]
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                asking = [*node.args] if node.func.attr in ("startswith", "endswith", "__eq__") else []
            inner = [value for part in asking for value in ast.walk(part)]  # of a tuple or a set too
            asked = {value.value for value in inner if isinstance(value, ast.Constant)} & names
            assert not asked, f"{path.relative_to(PACKAGE)}:{getattr(node, 'lineno', '')} asks for {asked}"


def test_tasks_are_light_to_import():
    program = (
        "import icd_assets.tasks, sys; "
        "heavy = {'torch', 'transformers', 'numpy', 'pyarrow', 'pycocoevalcap'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
