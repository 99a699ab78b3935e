"""The installed packages, the GPUs, and what the chosen model needs of the memory and of the time."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.version import Version

from icd_assets.runtime.device import visible_gpus
from icd_assets.runtime.finding import Finding, in_bytes
from icd_assets.runtime.foreign import harmless

if TYPE_CHECKING:
    from icd_assets.vlm.memory import Workload

_MIB = 1 << 20
_SLOW_HOURS = 1.0
_TOOL_SECONDS = 30.0


def packages() -> Iterator[Finding]:
    """Versions; and a torchvision that was built for another torch, which breaks every import of transformers."""
    torch, transformers, vision = (_version(name) for name in ("torch", "transformers", "torchvision"))
    if torch is None or transformers is None:
        lacking = "torch" if torch is None else "transformers"
        yield Finding("packages", "problem", f"{lacking} is not installed", "pip install icd-assets")
        return
    if vision is not None and (reason := _mismatch(Version(torch), Version(vision))) is not None:
        yield Finding(
            "packages",
            "problem",
            f"torchvision {vision} beside torch {torch}: {reason}, and transformers cannot be imported with it",
            "pip uninstall torchvision (it is not needed here)",
        )
        return
    beside = f", torchvision {vision}" if vision is not None else ""
    yield Finding("packages", "ok", f"torch {torch}, transformers {transformers}{beside}")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _mismatch(torch: Version, vision: Version) -> str | None:
    """PyPI's wheels name their build in no suffix, those of PyTorch's index do; the two link other libraries."""
    for text in requires("torchvision") or []:
        needed = Requirement(text)
        if needed.name == "torch" and not needed.specifier.contains(torch.public, prereleases=True):
            return f"it needs torch{needed.specifier}"
    if (torch.local == "cpu") != (vision.local == "cpu"):
        return "one is a CPU build and the other is not"
    return None


@dataclass(frozen=True, slots=True)
class Gpu:
    """One visible GPU; memory in bytes."""

    name: str
    model: str
    driver: str
    total: int
    free: int
    holders: tuple[str, ...]


def gpus() -> list[Gpu]:
    """What nvidia-smi says of the GPUs that this process may use."""
    tool = shutil.which("nvidia-smi")
    found = []
    for name in visible_gpus():
        fields = _queried(tool, name, "--query-gpu=name,driver_version,memory.total,memory.free")
        if not fields:
            continue
        if len(fields[0]) != 4 or not (fields[0][2].isdecimal() and fields[0][3].isdecimal()):
            continue  # a broken one, as "[Unknown Error]"
        model, driver, total, free = fields[0]
        holders = tuple(
            f"{Path(program).name} (pid {pid}, {in_bytes(int(used) * _MIB) if used.isdecimal() else used})"
            for pid, program, used in _triples(
                _queried(tool, name, "--query-compute-apps=pid,process_name,used_memory")
            )
        )
        found.append(Gpu(name, model, driver, int(total) * _MIB, int(free) * _MIB, holders))
    return found


def _queried(tool: str | None, gpu: str, query: str) -> list[list[str]]:
    """The answer's rows; none if nvidia-smi does not know the GPU."""
    if tool is None:
        return []
    command = [tool, "-i", gpu, query, "--format=csv,noheader,nounits"]
    return [line.split(", ") for line in _printed(command).splitlines() if line.strip()]


def _triples(rows: list[list[str]]) -> list[tuple[str, str, str]]:
    """Rows of a process: its name may hold what parts the columns."""
    return [(row[0], ", ".join(row[1:-1]), row[-1]) for row in rows if len(row) >= 3]


def _printed(command: list[str]) -> str:
    """What a tool prints; nothing if it fails, or hangs as a driver does whose GPU fell off the bus."""
    try:
        ended = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=_TOOL_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return harmless(ended.stdout) if ended.returncode == 0 else ""


def devices(found: list[Gpu]) -> Iterator[Finding]:
    """The GPUs as they are, and whether torch can use them."""
    if not found:
        yield Finding("gpu", "ok", "none visible: steps that use a GPU run on the CPU")
        return
    for gpu in found:
        text = f"{gpu.name}: {gpu.model}, {in_bytes(gpu.free)} of {in_bytes(gpu.total)} free, driver {gpu.driver}"
        if gpu.holders:
            held = f"{text}; held by {', '.join(gpu.holders)}"
            yield Finding("gpu", "warning", held, "wait for them, or take another GPU")
        else:
            yield Finding("gpu", "ok", text)
    import torch

    built, offered = torch.version.cuda, _driver_cuda()
    if built is None:
        yield Finding(
            "gpu", "problem", f"torch {torch.__version__} is built without CUDA", "install a CUDA build of torch"
        )
    elif offered is not None and int(built.split(".")[0]) > int(offered.split(".")[0]):
        yield Finding(
            "gpu",
            "problem",
            f"torch is built for CUDA {built}, but the driver offers {offered}",
            f"update the driver, or install a torch for CUDA {offered.split('.')[0]}",
        )
    elif not torch.cuda.is_available():
        yield Finding(
            "gpu",
            "problem",
            "torch cannot use the GPU",
            "see what python -c 'import torch; torch.cuda.init()' says",
        )
    else:
        yield Finding("gpu", "ok", f"torch is built for CUDA {built} and can use it")


def _driver_cuda() -> str | None:
    match = re.search(r"CUDA Version:\s*(\d+\.\d+)", _printed([shutil.which("nvidia-smi") or "nvidia-smi"]))
    return match[1] if match else None


def gpu_memory(name: str, work: Workload, gpu: Gpu) -> Finding:
    """Whether the model ``name`` and a batch of its prompts fit into what is free now; without a batch_size, one
    prompt, for batches are as large as the rest takes."""
    size = work.batch_size or 1
    needed, best = replace(work, batch_size=size).memory(), work.largest_batch(gpu.free)
    asked = "one prompt at a time" if work.batch_size is None else f"batch_size {size}"
    rows = f"{size} prompts × {work.generation.num_beams} beams × {work.prompt.tokens} tokens"
    cache = in_bytes(needed.kv_cache + needed.states)
    text = (
        f"{name} at {asked} needs about {in_bytes(needed.on_gpu)} of "
        f"{in_bytes(gpu.free)} free (weights, {work.sizes.parameters / 1e9:.2f} B in {work.dtype}: "
        f"{in_bytes(needed.weights)}; KV cache of {rows}: {cache}; activations: "
        f"{in_bytes(needed.activations + needed.logits)}; images: {in_bytes(needed.vision + needed.features)})"
    )
    if best == 0:
        todo = "free the GPU, take a larger one, or lower the model's max_pixels in the catalog"
        return Finding("memory", "problem", text, todo)
    if needed.on_gpu > gpu.free:
        return Finding("memory", "warning", text, f"set the model's batch_size in the catalog to {best}")
    if work.batch_size is None:
        return Finding("memory", "ok", f"{text}; batches take what is left")
    return Finding("memory", "ok", f"{text}; batch_size {best} would fit too" if best > size else text)


def gpu_outlier(name: str, work: Workload, gpu: Gpu, what: str) -> Finding:
    """Whether the one largest prompt fits, asked alone; ``what`` makes it large."""
    needed = work.memory().on_gpu
    text = (
        f"the largest prompt ({what}; {work.prompt.tokens} tokens) needs {in_bytes(needed)} of "
        f"{in_bytes(gpu.free)} by itself"
    )
    if needed > gpu.free:
        return Finding("memory", "problem", text, "lower the model's max_pixels in the catalog, or leave it out")
    return Finding("memory", "ok", text)


def cpu_work(name: str, work: Workload, asked: int, median: Workload | None = None) -> Finding:
    """What running on the CPU means: memory of a batch of usual prompts against what is free, and time of
    ``median`` ones (default: of those) from the rate of a matrix product."""
    needed, free = work.memory().model, _free_memory()
    tokens = (median or work).prompt.tokens
    hours = asked * tokens * 2 * work.sizes.parameters / _operations_per_second() / 3600
    text = f"no GPU: {name} needs up to {in_bytes(needed)} of memory"
    text += f" ({in_bytes(free)} free)" if free is not None else ""
    if asked:
        text += f"; {asked} prompts of about {tokens} tokens take {_duration(hours)} at this CPU's best rate"
    if free is not None and needed > free:
        todo = "take a machine with a GPU, or lower the model's batch_size in the catalog"
        return Finding("memory", "problem", text, todo)
    if hours > _SLOW_HOURS:
        return Finding("memory", "warning", text, "take a machine with a GPU")
    return Finding("memory", "ok", text)


def _free_memory() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    found = next((match for line in lines if (match := re.match(r"MemAvailable:\s+(\d+)", line))), None)
    return int(found[1]) * 1024 if found is not None else None


def _operations_per_second() -> float:
    """Of a float32 matrix product, the best of a few: a model never reaches it."""
    import torch

    size, best = 512, 0.0
    matrix = torch.ones(size, size)
    for _ in range(5):
        began = time.perf_counter()
        matrix @ matrix
        best = max(best, 2 * size**3 / (time.perf_counter() - began))
    return best


def _duration(hours: float) -> str:
    if hours < 1 / 60:
        return f"{hours * 3600:.0f} seconds"
    if hours < 1:
        return f"{hours * 60:.0f} minutes"
    return f"{hours:.0f} hours" if hours < 48 else f"{hours / 24:.0f} days"
