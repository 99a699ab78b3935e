"""What one entry of the catalog says, by section."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from icd_assets.datasets.image_pattern import require_pattern
from icd_assets.datasets.official import Answer
from icd_assets.errors import UserError
from icd_assets.runtime.user_path import expanded
from icd_assets.tasks import TASKS, SplitFiles, TaskName
from icd_assets.vlm.backend import Generation
from icd_assets.vlm.backends import with_backend
from icd_assets.vlm.backends.config import BackendConfig
from icd_assets.vlm.prompts import PromptStyle


def _path_of(text: str, field: str = "") -> str:
    """``text``, if it can be a path; raises ``ValueError`` else."""
    try:
        expanded(text, field, one_line=False)
    except UserError as error:
        raise ValueError(str(error).rstrip(".")) from None
    return text


# A folder of this machine or a hub id, or a text that becomes part of one.
_PathText = Annotated[str, AfterValidator(_path_of)]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


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
    sample_num: int = Field(gt=0, lt=10**9)
    encoder: str
    sampler_encoder: str
    train: SplitFiles
    validation: SplitFiles
    answer: Answer = "official"  # most_frequent: of the raw answers, as upstream reads VQAv2 (SPEC B.3)
    leave_out: frozenset[str] = frozenset()  # texts: questions that hold one, or whose answers do, are no rows
    prepare: str | None = Field(None, pattern=r"^[A-Za-z_][A-Za-z0-9_.]{0,199}:[A-Za-z_][A-Za-z0-9_]{0,99}$")
    settings: dict[str, dict[str, Any]] = {}

    @field_validator("leave_out")
    @classmethod
    def _not_blank(cls, texts: frozenset[str]) -> frozenset[str]:
        if any(not text.strip() for text in texts):
            raise ValueError("a blank text would leave out every question")
        return texts

    @field_validator("train", "validation", mode="before")
    @classmethod
    def _files_of_the_task(cls, given: Any, info: ValidationInfo) -> SplitFiles:
        task = TASKS[info.data.get("task", "vqa")]  # an unknown task was refused before
        if isinstance(given, task.files):
            return given
        try:
            files = task.files.model_validate(given)
            require_pattern(files.images)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            problem = first["msg"].removeprefix("Value error, ")
            raise ValueError(
                f"each split of a dataset of the task {task.name} names {task.files_named}: "
                f"{field}{': ' if field else ''}{problem}"
            ) from None
        except ValueError as error:
            raise ValueError(f"images: {error}") from None
        for name, value in files.model_dump().items():
            if isinstance(value, str):
                _path_of(value, name)
        return files


class ModelEntry(_Entry):
    """A vision-language model: where its answers come from, and how it is prompted and decoded.

    The catalog has the backend's fields beside the others: ``path`` and how it is loaded, or ``endpoint``; see
    :mod:`icd_assets.vlm.backends`.

    One that is ``unsupported`` (the reason, and what to take instead) keeps its names, its paths and the
    artifacts that there are; only what would ask it is refused.
    """

    name: str
    aliases: list[str]
    backend: SerializeAsAny[BackendConfig]
    prompt: PromptStyle = PromptStyle()
    generation: Generation = Generation()
    unsupported: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _with_backend(cls, fields: Any) -> Any:
        return with_backend(fields) if isinstance(fields, dict) else fields

    @property
    def source(self) -> str:
        """A folder, a hub id, or the name under which a server knows it."""
        return self.backend.source

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
    path: _PathText
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
