"""What an artifact was made with: versions, device, threads, CPU, source commit. Recorded in its manifest."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# What the machine adds up with. It decides the last bits of large work on a CPU, and nothing else.
ARITHMETIC = ("threads", "cpu", "blas")

# What the servers that answered said of themselves, where a model was asked through an endpoint.
MODEL_SERVER = ("vlm_engine", "vlm_max_model_len", "vlm_deterministic")

# These make the libraries take other instructions, whatever the CPU has.
_INSTRUCTIONS = (
    "ATEN_CPU_CAPABILITY",
    "DNNL_MAX_CPU_ISA",
    "MKL_CBWR",
    "MKL_DEBUG_CPU_TYPE",
    "MKL_ENABLE_INSTRUCTIONS",
    "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_CORETYPE",
)
_PACKAGES = ("icd-assets", "dagster", "torch", "transformers", "numpy", "Pillow", "pycocoevalcap")

_LIBRARIES = {
    "BLAS": r"BLAS_INFO=(\w+)",
    "MKL": r"Math Kernel Library Version (\S+?)-",
    "oneDNN": r"MKL-DNN v(\S+)",
}
_CPUINFO = Path("/proc/cpuinfo")
_CPU_FIELDS = (("family", "cpu family"), ("model", "model"), ("part", "CPU part"))


@cache
def versions() -> dict[str, str]:
    """Of Python, the machine's kind and the packages that matter, by name."""
    found = {"python": platform.python_version(), "machine": f"{sys.platform} {platform.machine()}"}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


@cache
def _commit() -> str:
    """The commit of the source tree, with ``+`` when it has changes; ``installed`` outside a checkout."""
    folder = Path(__file__).parents[1]
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True)
        if head.returncode != 0:
            return "installed"
        status = ["git", "status", "--porcelain", "--", "."]
        changed = subprocess.run(status, cwd=folder, capture_output=True, text=True)
    except FileNotFoundError:
        return "installed"
    return head.stdout.strip()[:12] + ("+" if changed.stdout.strip() else "")


@cache
def _cpu() -> str:
    """``AMD EPYC (family 25, model 17)``: a virtual machine's name alone says too little."""
    fields: dict[str, str] = {}
    try:
        for line in _CPUINFO.read_text(encoding="utf-8").split("\n\n")[0].splitlines():
            name, _, value = line.partition(":")
            fields[name.strip()] = value.strip()
    except (OSError, UnicodeDecodeError):
        pass
    parts = [f"{word} {fields[key]}" for word, key in _CPU_FIELDS if key in fields]
    name = fields.get("model name") or platform.processor() or platform.machine() or "unknown"
    return f"{name} ({', '.join(parts)})" if parts else name


def _arithmetic() -> dict[str, str]:
    """Threads and libraries of torch and numpy, as far as this process has loaded them."""
    found, libraries = {"cpu": _cpu()}, []
    if (torch := sys.modules.get("torch")) is not None:
        found["threads"] = str(torch.get_num_threads())
        built = torch.__config__.show()
        known = {name: re.search(pattern, built) for name, pattern in _LIBRARIES.items()}
        named = [f"{name} {match[1]}" for name, match in known.items() if match]
        libraries.append(f"torch: {', '.join([*named, torch.backends.cpu.get_cpu_capability()])}")
    if (numpy := sys.modules.get("numpy")) is not None:
        blas = numpy.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
        libraries.append(f"numpy: {blas.get('name', 'unknown')} {blas.get('version', '')}".rstrip())
    libraries += [f"{name}={os.environ[name]}" for name in _INSTRUCTIONS if os.environ.get(name)]
    return found | ({"blas": "; ".join(libraries)} if libraries else {})


def describe(device: str) -> dict[str, str]:
    """``threads`` are those that torch may use; small work takes one (:mod:`icd_assets.runtime.threads`)."""
    return {**versions(), **_arithmetic(), "commit": _commit(), "device": device}
