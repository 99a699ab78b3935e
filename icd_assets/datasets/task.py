"""The tasks that a dataset may pose."""

from __future__ import annotations

from typing import Literal

Task = Literal["vqa", "caption"]
