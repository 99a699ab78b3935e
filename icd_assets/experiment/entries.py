"""What one entry of the catalog says, by section."""

from __future__ import annotations

import re
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from icd_assets.datasets.official import Answer
from icd_assets.tasks import TASKS, SplitFiles, TaskName
from icd_assets.vlm.backend import Generation
from icd_assets.vlm.endpoint import Endpoint
from icd_assets.vlm.prompts import PromptStyle


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TaskEntry(_Entry):
    """How a task is put to any model: stronger than the model's own wording and decoding, field by field."""

    name: str
    prompt: dict[str, Any] = {}
    generation: dict[str, Any] = {}

    @field_validator("prompt")
    @classmethod
    def _wording(cls, fields: dict[str, Any]) -> dict[str, Any]:
        PromptStyle(**fields)
        return fields

    @field_validator("generation")
    @classmethod
    def _decoding(cls, fields: dict[str, Any]) -> dict[str, Any]:
        Generation(**fields)
        return fields


class DatasetEntry(_Entry):
    """A dataset: its task, its files, and what Lever-Plus fixes per dataset (SPEC A.1)."""

    name: str
    task: TaskName = "vqa"
    alias_prefixes: list[str]
    sample_num: int = Field(gt=0)
    encoder: str
    sampler_encoder: str
    train: SplitFiles
    validation: SplitFiles
    answer: Answer = "official"  # most_frequent: of the raw answers, as upstream reads VQAv2 (SPEC B.3)
    prepare: str | None = None
    settings: dict[str, dict[str, Any]] = {}

    @field_validator("train", "validation", mode="before")
    @classmethod
    def _files_of_the_task(cls, given: Any, info: ValidationInfo) -> SplitFiles:
        task = TASKS[info.data.get("task", "vqa")]  # an unknown task was refused before
        if isinstance(given, task.files):
            return given
        try:
            return task.files.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            problem = first["msg"].removeprefix("Value error, ")
            raise ValueError(
                f"each split of a dataset of the task {task.name} names {task.files_named}: "
                f"{field}{': ' if field else ''}{problem}"
            ) from None


# Settings of weights in this process; whoever serves a model has settled them for it.
_IN_PROCESS = ("revision", "dtype", "batch_size", "min_pixels", "max_pixels")


class ModelEntry(_Entry):
    """A vision-language model: its weights or where they are served, and how it is prompted and decoded.

    One that is ``unsupported`` (the reason, and what to take instead) keeps its names, its paths and the
    artifacts that there are; only what would ask it is refused.
    """

    name: str
    aliases: list[str]
    path: str | None = None
    endpoint: Endpoint | None = None
    revision: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16"
    prompt: PromptStyle = PromptStyle()
    generation: Generation = Generation()
    batch_size: int = Field(8, gt=0)
    min_pixels: int | None = None
    max_pixels: int | None = None
    unsupported: str | None = None

    @model_validator(mode="after")
    def _in_one_place(self) -> Self:
        if (self.path is None) == (self.endpoint is None):
            raise ValueError("a model has a path or an endpoint, not both; give one of them")
        if self.endpoint is not None:
            for field in _IN_PROCESS:
                if field in self.model_fields_set:
                    raise ValueError(
                        f"{field} is a setting of models with a path; leave it out beside an endpoint"
                    )
        return self

    @property
    def source(self) -> str:
        """A folder, a hub id, or the name under which a server knows it."""
        return self.endpoint.model if self.endpoint is not None else str(self.path)

    def means(self, typed: str) -> bool:
        """Whether a user who types ``typed`` means this model: its name, an alias, its hub id or the end of it,
        or what becomes one of them by SPEC A.1's rule for file names."""
        names = {self.name, *self.aliases, self.source, self.source.rpartition("/")[2]}
        return typed in names or re.sub(r"[./ ]", "_", typed) in names

    @property
    def safe_name(self) -> str:
        """``model_name_safe`` of SPEC A.1, used in checkpoint names."""
        return re.sub(r"[-.]", "_", self.name)


class EncoderEntry(_Entry):
    """A CLIP model."""

    name: str
    path: str
    revision: str | None = None


class AutomationEntry(_Entry):
    """What runs by itself once it is switched on: a schedule, a sensor, or the condition ``changed_data``."""

    name: str
    cells: list[str] = []  # partition keys; empty: every cell that was trained under the results root
    settings: dict[str, Any] = {}  # "asset.field": value, stronger than what the cell was trained with
    force: list[str] = []  # assets that are made again even if nothing changed
    cron: str = "0 2 * * 6"
    timezone: str = "UTC"
    enabled: bool = False  # changed_data alone: schedules and sensors are switched on in the UI
