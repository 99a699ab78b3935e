"""A manifest says what the machine adds up with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy
import pytest
import torch

from icd_assets.runtime import provenance
from icd_assets.runtime.provenance import ARITHMETIC, describe


@pytest.fixture(autouse=True)
def fresh() -> None:
    provenance._cpu.cache_clear()


def test_threads_cpu_and_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found = describe("cpu")
            assert found["threads"] == str(threads)
    finally:
        torch.set_num_threads(before)
    assert set(ARITHMETIC) < set(found)
    assert "oneDNN 3." in found["blas"] and torch.backends.cpu.get_cpu_capability() in found["blas"]
    assert numpy.show_config(mode="dicts")["Build Dependencies"]["blas"]["version"] in found["blas"]
    assert found["blas"].endswith("MKL_CBWR=COMPATIBLE")
    assert found["cpu"] not in ("", "unknown")


def test_a_process_without_torch_does_not_load_it() -> None:
    code = (
        "import sys; from icd_assets.runtime.provenance import describe; found = describe('cpu');"
        "assert 'threads' not in found and 'blas' not in found and 'cpu' in found, found;"
        "assert not {'torch', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("text", "cpu"),
    [
        ("model name\t: A\ncpu family\t: 6\nmodel\t: 85\n\nmodel name\t: B\n", "A (family 6, model 85)"),
        ("processor\t: 0\nCPU part\t: 0xd0c\n", None),
        ("\0\xff no lines: at: all", None),
        ("", None),
    ],
)
def test_cpuinfo_of_any_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, cpu: str | None) -> None:
    path = tmp_path / "cpuinfo"
    path.write_bytes(text.encode("latin-1"))
    monkeypatch.setattr(provenance, "_CPUINFO", path)
    found = provenance._cpu()
    assert found == cpu if cpu else found.split(" (")[0]
    path.unlink()
    provenance._cpu.cache_clear()
    assert provenance._cpu()
