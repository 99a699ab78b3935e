"""The tasks that a dataset may pose, one folder each; light to import."""

from typing import Annotated

from pydantic import AfterValidator

from icd_assets.tasks.caption import CAPTION
from icd_assets.tasks.multiple_choice import MULTIPLE_CHOICE
from icd_assets.tasks.task import CandidateText, SplitFiles, Task
from icd_assets.tasks.vqa import VQA

TASKS = {task.name: task for task in (VQA, CAPTION, MULTIPLE_CHOICE)}


def _known(name: str) -> str:
    if name not in TASKS:
        raise ValueError(f"there is no task {name!r}, valid: {', '.join(TASKS)}")
    return name


TaskName = Annotated[str, AfterValidator(_known)]

__all__ = ["TASKS", "CandidateText", "SplitFiles", "Task", "TaskName"]
