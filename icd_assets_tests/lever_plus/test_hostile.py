"""A results folder of anyone's: through the real command nothing in it is executed, nothing fills the memory,
each bad file is one sentence, and the good ones are still adopted."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
import torch
import yaml

from icd_assets_tests.programs import program
from icd_assets_tests.worlds.lever_plus import RL_DATA, V3, LeverPlus, lever_plus_folder, write_json
from icd_assets_tests.worlds.workplace import Workplace

pytestmark = pytest.mark.slow
GOOD = "okvqa"
DATASETS = (
    "code",
    "bombs",
    "claims",
    "paths",
    "pipes",
)  # each a copy, so that one folder holds one bad file of a kind


class Executes:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.path,)


class Fills:
    """A call that torch's own safe reader makes: some bytes that become three gigabytes."""

    def __reduce__(self) -> tuple[object, tuple[int]]:
        return bytearray, (3 << 30,)


@pytest.fixture(scope="module")
def looked_at(
    trained: tuple[Workplace, str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[LeverPlus, str, int]:
    """(place, what ``adopt`` printed, its largest memory in MiB)."""
    place = lever_plus_folder(trained[0], tmp_path_factory.mktemp("hostile") / "work", trained=True)
    catalog = yaml.safe_load((place.folder / "catalog.yaml").read_text(encoding="utf-8"))
    for name in DATASETS:
        catalog["datasets"][name] = catalog["datasets"][GOOD] | {"alias_prefixes": [name]}
        shutil.copytree(place.dataset, place.results / name)
        for path in (place.results / name).rglob("*okvqa*"):
            path.rename(path.with_name(path.name.replace("okvqa", name)))
    (place.folder / "catalog.yaml").write_text(yaml.safe_dump(catalog, sort_keys=False), encoding="utf-8")
    for make in (code, bombs, claims, paths, pipes):
        make(place.results / make.__name__, place.folder)
    peak = tmp_path_factory.mktemp("peak") / "kib"
    command = program("peak_of_a_command", str(peak), "adopt", "results")
    ran = subprocess.run(command, cwd=place.folder, env=place.environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return place, ran.stdout + ran.stderr, int(peak.read_text(encoding="utf-8")) >> 10


def one_of(folder: Path, pattern: str) -> Path:
    (path,) = folder.rglob(pattern)
    return path


def code(folder: Path, home: Path) -> None:
    """Pickles that would run a command, in every carrier."""
    torch.save({"state_dict": {}, "callbacks": Executes(home / "ran_v2")}, one_of(folder, "*.ckpt"))
    for name in ("query_embeddings.pt", "candidate_embeddings.pt"):
        torch.save(Executes(home / "ran_embeddings"), folder / "cache" / name)
    torch.save({"epoch": 0, "phase": "rce", "metrics": Executes(home / "ran_v3")}, folder / V3 / "rce_epoch1.pt")
    torch.save(Executes(home / "ran_features"), folder / "cache/vqa-code-clip-vit-large-patch14-TextFeatures.pth")


def bombs(folder: Path, home: Path) -> None:
    """Small files that would become gigabytes."""
    torch.save({"state_dict": {}, "optimizer_states": [Fills()]}, one_of(folder, "*.ckpt"))
    with zipfile.ZipFile(folder / V3 / "rce_epoch1.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}q\x00.")
        with archive.open("archive/data/0", "w", force_zip64=True) as entry:
            for _ in range(1024):
                entry.write(bytes(1 << 20))
    with one_of(folder, "rl_data_*.json").open("w") as file:
        file.truncate(10 << 30)
    one_of(folder, "*-RandSampler-anchor*.json").write_text("[" * 200_000, encoding="utf-8")
    for name in ("query_embeddings.pt", "candidate_embeddings.pt"):
        torch.save(torch.ones(1).expand(640, 1 << 22), folder / "cache" / name)


def claims(folder: Path, home: Path) -> None:
    """Numbers that are none, and foreign manifests."""
    for name in ("query_embeddings.pt", "candidate_embeddings.pt"):
        tensor = torch.load(folder / "cache" / name, weights_only=True)
        tensor[17, 3] = float("nan")
        torch.save(tensor, folder / "cache" / name)
    epoch = torch.load(folder / V3 / "grpo_epoch1.pt", weights_only=True)
    epoch["model_state_dict"]["cand_proj.weight"][0, 0] = float("inf")
    torch.save(epoch, folder / V3 / "grpo_epoch1.pt")
    path = one_of(folder, "rl_data_*.json")
    secret = home / "secret"
    secret.write_text("keep", encoding="utf-8")
    climbing = {
        "want": {"asset": "rl_data", "code_version": "1", "config": {}, "inputs": {}},
        "config_digest": "0",
        "data_version": "0",
        "files": [{"path": "claims/../../secret", "size": 4, "sha256": hashlib.sha256(b"keep").hexdigest()}],
        "facts": {},
        "cell": "claims|RandSampler/Qwen2_5-VL-3B-Instruct",
        "run_id": "0",
        "created_at": "2026-01-01T00:00:00+00:00",
        "seconds": 0.0,
        "environment": {},
    }
    write_json(path.with_name(path.name + ".manifest.json"), climbing)


def paths(folder: Path, home: Path) -> None:
    """Links that climb out of the results, and names that try to."""
    outside = home / "outside"
    outside.mkdir()
    for pattern in ("rl_data_*.json", "*-RandSampler-anchor*.json"):
        path = one_of(folder, pattern)
        path.rename(outside / path.name)
        path.symlink_to(outside / path.name)
    shutil.move(folder / "model_cpk/v2", outside / "v2")
    (folder / "model_cpk/v2").symlink_to(outside / "v2")
    (folder / "cache/query_embeddings.pt").unlink()
    (folder / "cache/query_embeddings.pt").symlink_to("query_embeddings.pt")
    write_json(folder / "generated_data/rl_data_.._.._x.json", {})
    (folder / "generated_data/rl_data_\x1b[2J\n.json").write_text("{}", encoding="utf-8")
    (folder.parent / "elsewhere").symlink_to(outside)


def pipes(folder: Path, home: Path) -> None:
    """What would never end, or cannot be read."""
    path = one_of(folder, "rl_data_*.json")
    path.unlink()
    os.mkfifo(path)
    one_of(folder, "*-RandSampler-anchor*.json").unlink()
    (folder / "cache/pipes-RandSampler-anchor_sample_num: 24:64.json").symlink_to("/dev/zero")
    checkpoint = one_of(folder, "*.ckpt")
    checkpoint.unlink()
    checkpoint.mkdir()
    (folder / "cache/query_embeddings.pt").write_bytes(b"")


REFUSED = {
    "code": {
        "v2_checkpoint": "refused, it holds more than tensors and numbers (posix.mkdir)",
        "embeddings": "refused, it holds more than tensors and numbers (posix.mkdir)",
        "rce_checkpoints": "refused, it holds more than tensors and numbers (posix.mkdir)",
    },
    "bombs": {
        "v2_checkpoint": "refused, it holds more than tensors and numbers (builtins.bytearray)",
        "rce_checkpoints": "has compressed entries, which torch.save never writes",
        "rl_data": "declares 10240 MiB",
        "candidate_pools": "not acceptable JSON",
        "embeddings": "claims more numbers than the file holds",
    },
    "claims": {
        "embeddings": "row 17 is not finite",
        "grpo_checkpoints": "cand_proj.weight holds numbers that are not finite",
        "rl_data": "'claims/../../secret' leads out of the results",
    },
    "paths": {"embeddings": "is there, but query_embeddings.pt is not"},
    "pipes": {"embeddings": "truncated, or not written by torch.save"},
}


def lines(printed: str, dataset: str, asset: str | None = None) -> list[str]:
    found = [line for line in printed.splitlines() if f" {dataset}/" in line]
    return [line for line in found if asset is None or line.split()[1:2] == [asset]]


def test_nothing_is_executed_and_memory_is_bounded(looked_at: tuple[LeverPlus, str, int]) -> None:
    place, printed, memory = looked_at
    assert not [path.name for path in place.folder.glob("ran_*")], printed
    assert memory < 1500, memory
    assert "Traceback" not in printed


@pytest.mark.parametrize(
    ("dataset", "asset", "says"),
    [(dataset, asset, says) for dataset, found in REFUSED.items() for asset, says in found.items()],
)
def test_each_bad_file_is_one_sentence(
    looked_at: tuple[LeverPlus, str, int], dataset: str, asset: str, says: str
) -> None:
    _, printed, _ = looked_at
    (line,) = [line for line in lines(printed, dataset, asset) if line.startswith("refused")]
    assert says in line


def test_links_pipes_and_names_that_climb(looked_at: tuple[LeverPlus, str, int]) -> None:
    place, printed, _ = looked_at
    refused = [line for line in printed.splitlines() if line.startswith("refused")]
    out = [line for line in refused if "leads out of the results folder" in line]
    assert len([line for line in out if " paths/" in line]) == 3
    assert any(" elsewhere: " in line for line in out)
    assert any("pipes/cache" in line and "leads out" in line for line in out)  # to /dev/zero
    assert any("pipes/generated_data" in line and "a pipe or a device" in line for line in refused)
    assert "\x1b" not in printed
    assert (place.folder / "secret").read_text(encoding="utf-8") == "keep"
    assert not list((place.folder / "outside").rglob("*.manifest.json"))


def test_the_good_files_beside_them_are_adopted(looked_at: tuple[LeverPlus, str, int]) -> None:
    place, printed, _ = looked_at
    adopted = {d: [line.split()[1] for line in lines(printed, d) if line.startswith("adopted")] for d in DATASETS}
    assert adopted["code"] == ["candidate_pools", "beam_data", "rl_data", "grpo_checkpoints"]
    assert adopted["bombs"] == ["beam_data", "grpo_checkpoints"]
    assert adopted["claims"] == ["candidate_pools", "beam_data", "v2_checkpoint", "rce_checkpoints"]
    assert adopted["paths"] == ["beam_data", "rce_checkpoints", "grpo_checkpoints"]
    assert adopted["pipes"] == ["beam_data", "rce_checkpoints", "grpo_checkpoints"]
    good = [line.split()[1] for line in lines(printed, GOOD) if line.startswith("adopted")]
    assert len(good) == 7
    assert (
        json.loads((place.dataset / f"{RL_DATA}.manifest.json").read_text(encoding="utf-8"))["origin"] == "adopted"
    )
