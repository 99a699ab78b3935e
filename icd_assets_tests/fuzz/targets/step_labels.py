"""Labels of steps."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from icd_assets.scoring.step_label_file import StepLabelFile, read_step_labels

SUFFIX = ".json"


def seeds() -> Iterable[bytes]:
    yield (
        b'{"3": {"candidate_pool_ids": [1, 2], "steps": [{"prefix": [], "base": 0.1, "values": [0.5, null]}, '
        b'{"prefix": [0], "base": null, "values": [null, 1]}]}, "_meta": {"label": "LABEL"}}'
    ).replace(b"LABEL", _label())


def _label() -> bytes:
    from typing import get_args

    from icd_assets.scoring.step_labels import Label

    return str(get_args(Label)[0]).encode()


def read(path: Path) -> StepLabelFile:
    return read_step_labels(path, n_rows=100)
