"""The notebooks of the documentation, run as a reader runs them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import icd_assets
from icd_assets_tests.worlds.workplace import Workplace

FOLDER = Path(icd_assets.__file__).parent.parent / "docs" / "notebooks"
SHOWN = {
    "train_on_your_own": ("train: 139 questions on 93 images", "coverage (singles), whole library"),
    "use_a_selector": ("torch.Size([64, 64]) True", "'image_url'", "always the same two"),
}


def test_each_is_known() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == sorted(SHOWN)


@pytest.mark.parametrize("name", SHOWN)
def test_it_is_kept_without_what_a_run_leaves(name: str) -> None:
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell for cell in code if cell.outputs or cell.execution_count is not None] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", SHOWN)
def test_it_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [
        one for one in os.environ if one.startswith(("DAGSTER_", "ICD_", "DEMO_")) or one == "RECIPE"
    ]:
        monkeypatch.delenv(variable)
    for variable, value in (Workplace(tmp_path).environment | {"ICD_CATALOG": "", "RECIPE": ""}).items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    NotebookClient(
        notebook, timeout=170, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    text = "".join(output.get("text", "") for output in outputs)
    assert [words for words in SHOWN[name] if words not in text] == [], text
    assert "icd-assets: " not in text and "Traceback" not in text, text
    if name == "train_on_your_own":
        assert sum("image/png" in output.get("data", {}) for output in outputs) == 3
    else:
        found = {
            line.split(":")[0]: int(line.split()[-4]) for line in text.splitlines() if line.endswith(" right")
        }
        assert found["chosen"] > found["always the same two"] + 5
