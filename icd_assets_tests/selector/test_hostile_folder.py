"""A selector's folder, a lineage and features that anyone made: refused at once, or absent."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest

from icd_assets.errors import UserError
from icd_assets.lineage.embedded import read_embedded
from icd_assets.pools.features import _mapped
from icd_assets.selector.config import SelectorConfig
from icd_assets.selector.model import new_policy
from icd_assets.selector.selector_file import CONFIG, WEIGHTS, read_selector, write_selector


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    policy = new_policy(SelectorConfig(embedding_dim=4, hidden_dim=4, num_layers=1, num_heads=1), 0)
    write_selector(tmp_path, policy, stage="rce", encoder_digest="0f", lineage={})
    return tmp_path


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "sparse"])
def test_what_is_no_such_file_is_named_at_once(folder: Path, name: str, kind: str) -> None:
    path = folder / name
    if kind == "sparse":
        os.truncate(path, 10 << 30)
    else:
        path.unlink()
        {"pipe": os.mkfifo, "folder": os.mkdir, "device": lambda p: p.symlink_to("/dev/zero")}[kind](path)
    with pytest.raises(UserError, match=rf"{name}: it (is a {kind}|has 10,240)"):
        read_selector(folder)


@pytest.mark.parametrize(
    "change", [{"format": 10**400}, {"selector": {"architecture": "x" * 10**6}}, {"y" * 10**6: 1}]
)
def test_a_long_value_is_shown_in_brief(folder: Path, change: dict[str, object]) -> None:
    content = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(content | change))
    with pytest.raises(UserError, match=CONFIG) as error:
        read_selector(folder)
    assert len(str(error.value)) < 400 + len(str(folder))


def test_a_selector_that_would_not_fit_is_not_built(folder: Path) -> None:
    content = json.loads((folder / CONFIG).read_text())
    content["selector"] |= {"embedding_dim": 16_000, "hidden_dim": 16_000}
    (folder / CONFIG).write_text(json.dumps(content))
    with pytest.raises(UserError, match="cannot be"):
        read_selector(folder)


@pytest.mark.parametrize("name", ["a.json", "a.pt", "a.ckpt"])
def test_a_lineage_in_a_pipe_is_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(UserError, match="it is a pipe"):
        read_embedded(tmp_path / name)


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 1000000000000)}",
        "{'descr': '<f4', 'fortran_order': True, 'shape': (3, 4)}",
        "{'descr': '|O', 'fortran_order': False, 'shape': (3, 4)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, -4)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 1" + "0" * 400 + ")}",
        "{'descr': " + "(" * 3000,
    ],
)
def test_features_of_another_form_are_absent(tmp_path: Path, header: str) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.eye(3, 4, dtype=np.float32))
    path, sound = tmp_path / "a.npy", buffer.getvalue()
    path.write_bytes(sound)
    assert _mapped(path, 3).shape == (3, 4)
    text = header.encode()
    path.write_bytes(sound[:8] + len(text).to_bytes(2, "little") + text + sound[-48:])
    with pytest.raises(ValueError):
        _mapped(path, 3)
    assert path.stat().st_size < 5000
