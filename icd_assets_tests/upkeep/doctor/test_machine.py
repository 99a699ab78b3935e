"""Packages that clash, GPUs as nvidia-smi shows them, and whether a model fits into what is free."""

from __future__ import annotations

import os
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch

from icd_assets.upkeep.doctor import machine
from icd_assets.upkeep.doctor.machine import Gpu, cpu_work, devices, gpu_memory, gpus, packages
from icd_assets.vlm.backend import Generation
from icd_assets.vlm.memory import GIB, ModelSizes, PromptSize, Workload

SIZES = ModelSizes(3_754_622_976, 36, 2, 128, 2048, 11_008, 151_936, 5120, branches=True)
PROMPT = PromptSize(tokens=1260, images=3, patches=3 * 1564)
GPU = Gpu("0", "H100", "550.1", 80 * GIB, 79 * GIB, ())


WORK = Workload(SIZES, PROMPT, "bfloat16", Generation(), batch_size=8)


def installed(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    monkeypatch.setattr(machine, "_version", versions.get)
    wanted = ["numpy", "torch==2.13.0", 'gdown>=4.7.3; extra == "gdown"']
    monkeypatch.setattr(machine, "requires", lambda name: wanted)


@pytest.mark.parametrize(
    ("torch_version", "torchvision", "said"),
    [
        ("2.13.0+cpu", "0.28.0", "one is a CPU build and the other is not"),
        ("2.13.0", "0.28.0+cpu", "one is a CPU build and the other is not"),
        ("2.12.1", "0.28.0", "it needs torch==2.13.0"),
        ("2.13.0+cpu", "0.28.0+cpu", None),
        ("2.13.0", "0.28.0", None),
        ("2.13.0+cu128", "0.28.0+cu128", None),
    ],
)
def test_a_torchvision_of_another_torch(
    monkeypatch: pytest.MonkeyPatch, torch_version: str, torchvision: str, said: str | None
) -> None:
    installed(monkeypatch, torch=torch_version, transformers="5.23.0", torchvision=torchvision)
    (finding,) = packages()
    assert finding.level == ("ok" if said is None else "problem")
    if said is not None:
        assert said in finding.found
        assert "pip uninstall torchvision" in finding.todo


def test_packages_as_they_are_and_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    (finding,) = packages()
    assert metadata.version("torch") in finding.found
    installed(monkeypatch, torch="2.13.0")
    (finding,) = packages()
    assert (finding.level, finding.found) == ("problem", "transformers is not installed")


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with two GPUs, the second one in use."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text(
        "#!/bin/sh\n"
        'case "$*" in\n'
        "  -L) echo 'GPU 0: H100 (UUID: a)'; echo 'GPU 1: H100 (UUID: b)';;\n"
        "  *'-i 0 --query-gpu'*) echo 'NVIDIA H100, 550.54, 81559, 81000';;\n"
        "  *'-i 1 --query-gpu'*) echo 'NVIDIA H100, 550.54, 81559, 9000';;\n"
        "  *'-i 1 --query-compute'*) echo '4242, /usr/bin/python3.11, 72000'; echo '77, x, [N/A]';;\n"
        "  *--query*) ;;\n"
        "  '') echo '| NVIDIA-SMI 550.54  Driver Version: 550.54  CUDA Version: 12.4 |';;\n"
        "esac\n"
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return tool


def test_gpus_and_who_holds_them(smi: Path) -> None:
    first, second = gpus()
    assert (first.free, first.holders) == (81_000 << 20, ())
    assert second.holders == ("python3.11 (pid 4242, 70.3 GiB)", "x (pid 77, [N/A])")


def test_only_the_chosen_one_is_looked_at(smi: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert [gpu.name for gpu in gpus()] == ["1"]
    held = next(iter(devices(gpus())))
    assert held.level == "warning"
    assert "held by python3.11 (pid 4242" in held.found


@pytest.mark.parametrize(
    ("built", "usable", "level", "said"),
    [
        (None, False, "problem", "built without CUDA"),
        ("13.0", False, "problem", "built for CUDA 13.0, but the driver offers 12.4"),
        ("12.8", False, "problem", "torch cannot use the GPU"),
        ("12.8", True, "ok", "can use it"),
    ],
)
def test_torch_and_the_driver(
    smi: Path, monkeypatch: pytest.MonkeyPatch, built: str | None, usable: bool, level: str, said: str
) -> None:
    monkeypatch.setattr(torch.version, "cuda", built)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: usable)
    *_, finding = devices(gpus())
    assert finding.level == level
    assert said in finding.found


def test_without_a_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus() == []
    (finding,) = devices([])
    assert finding.level == "ok"
    assert "run on the CPU" in finding.found


def test_a_model_that_fits() -> None:
    finding = gpu_memory("Qwen2_5-VL-3B-Instruct", WORK, GPU)
    assert finding.level == "ok"
    assert "weights, 3.75 B in bfloat16: 7.0 GiB" in finding.found
    assert "8 prompts × 3 beams × 1260 tokens" in finding.found
    assert "would fit too" in finding.found


def fewer(free: int) -> Any:
    return Gpu("0", "L4", "550.1", 24 * GIB, free, ())


def test_a_batch_that_is_too_large_and_a_gpu_that_is_too_small() -> None:
    finding = gpu_memory("Qwen2_5-VL-3B-Instruct", WORK, fewer(12 * GIB))
    assert finding.level == "warning"
    assert finding.todo == "set the model's batch_size in the catalog to 2"
    finding = gpu_memory("Qwen2_5-VL-3B-Instruct", WORK, fewer(6 * GIB))
    assert finding.level == "problem"
    assert "max_pixels" in finding.todo


def test_batches_that_take_what_is_free() -> None:
    unset = replace(WORK, batch_size=None)
    finding = gpu_memory("Qwen2_5-VL-3B-Instruct", unset, fewer(12 * GIB))
    assert finding.level == "ok"
    assert "Qwen2_5-VL-3B-Instruct at one prompt at a time needs about" in finding.found
    assert "KV cache of 1 prompts × 3 beams × 1260 tokens" in finding.found
    assert finding.found.endswith("; batches take what is left")
    assert gpu_memory("Qwen2_5-VL-3B-Instruct", unset, fewer(6 * GIB)).level == "problem"


def test_what_a_cpu_means(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_operations_per_second", lambda: 1e11)
    monkeypatch.setattr(machine, "_free_memory", lambda: 64 * GIB)
    finding = cpu_work("Qwen2_5-VL-3B-Instruct", WORK, asked=12_000)
    # 12,000 prompts × 1260 tokens × 2 × 3.75e9 operations at 1e11 a second are 315 hours
    assert finding.level == "warning"
    assert "12000 prompts of about 1260 tokens take 13 days" in finding.found
    assert cpu_work("Qwen2_5-VL-3B-Instruct", WORK, asked=0).level == "ok"
    monkeypatch.setattr(machine, "_free_memory", lambda: 4 * GIB)
    assert cpu_work("Qwen2_5-VL-3B-Instruct", WORK, asked=0).level == "problem"


def test_this_machine_is_measured() -> None:
    assert machine._operations_per_second() > 1e8
    assert (machine._free_memory() or GIB) > 1 << 20


@pytest.mark.parametrize(
    ("hours", "shown"), [(0.001, "4 seconds"), (0.5, "30 minutes"), (5.2, "5 hours"), (100, "4 days")]
)
def test_durations(hours: float, shown: str) -> None:
    assert machine._duration(hours) == shown
