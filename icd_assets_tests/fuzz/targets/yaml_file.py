"""YAML of users: what passes is small, plain and finite, and means what YAML's own reader takes it for."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from icd_assets.runtime.yaml_file import read_yaml

SUFFIX = ".yaml"
REFUSALS = (OSError, ValueError)


def seeds() -> Iterable[bytes]:
    yield b"a: &a [1, 2.5, yes, null, '${x}']\nb: {<<: {c: 0x1f}, d: *a}\ne: |\n  text\n? f\n: !!str 3\n"
    yield b"run_monitoring: {enabled: true, free_slots_after_run_end_seconds: 10}\ntelemetry: {enabled: false}\n"
    yield b'%YAML 1.1\n---\n- 2020-01-01\n- "1:30"\n- "\\u00e9\\x41"\n- !!str 5\n...\n'


def read(path: Path) -> object:
    found = read_yaml(path)
    assert len(json.dumps(found, allow_nan=False, ensure_ascii=False).encode()) < 16 << 20
    return found
