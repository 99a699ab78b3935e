"""One holder per GPU, on a machine whose ``nvidia-smi`` says that it has two."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import NoReturn

import pytest

from icd_assets.errors import UserError
from icd_assets.runtime import device, locks
from icd_assets.runtime.locks import Holder
from icd_assets_tests.programs import program


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho 'GPU 0: H200 (UUID: GPU-aaaa)'\necho 'GPU 1: H200 (UUID: GPU-bbbb)'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("ICD_LOCK_DIR", str(tmp_path / "locks"))


def test_without_a_gpu_the_device_is_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with device.lease() as found:
        assert found == "cpu"


def test_two_holders_get_two_gpus_and_give_them_back(two_gpus: None) -> None:
    with device.lease() as first:
        assert (first, os.environ["CUDA_VISIBLE_DEVICES"]) == ("cuda:0", "0")
        del os.environ["CUDA_VISIBLE_DEVICES"]  # the second holder is another process: it sees both
        with device.lease():
            assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"
        os.environ["CUDA_VISIBLE_DEVICES"] = "0"
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_a_step_that_shares_its_work_takes_what_is_free(two_gpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ICD_THREADS", raising=False)
    with device.lease(most=8) as found:
        assert (found, os.environ["CUDA_VISIBLE_DEVICES"]) == ("cuda:0", "0,1")
        assert [place["CUDA_VISIBLE_DEVICES"] for place in device.places(found)] == ["0", "1"]
        assert {place["ICD_THREADS"] for place in device.places(found)} == {
            str(max(1, (os.cpu_count() or 1) // 2))
        }
    with device.lease():
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
        with device.lease(most=8) as found:
            assert [place["CUDA_VISIBLE_DEVICES"] for place in device.places(found)] == ["1"]
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with device.lease(most=1):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"


def test_as_many_workers_as_gpus_unless_the_user_says(two_gpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ICD_WORKERS", raising=False)
    assert device.most_workers() == 2
    monkeypatch.setenv("ICD_WORKERS", "1")
    assert device.most_workers() == 1
    assert len(device.places("cpu")) == 1
    monkeypatch.setenv("ICD_WORKERS", "3")
    monkeypatch.setenv("ICD_THREADS", "5")
    assert device.places("cpu") == [{"ICD_THREADS": "5"}] * 3


@pytest.mark.parametrize(
    "setting",
    [
        *("0", "-1", "two", "257", "9" * 5000, "\x1b[31m", "1.5", " ", "٣"),
        *("ray:", "ray:0", "ray:two", "Ray", "ray 2", ":3", "2:3"),
    ],
)
def test_a_number_of_workers_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch, setting: str) -> None:
    monkeypatch.setenv("ICD_WORKERS", setting)
    sentence = r"^ICD_WORKERS is .{1,120}; set it to a number of processes, 1 to 256, or to ray or ray:8\.$"
    with pytest.raises(UserError, match=sentence):
        device.most_workers()


def test_who_waits_for_a_gpu_is_told_who_has_it(two_gpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_NOTE_AFTER_SECONDS", 0.0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")

    def tell(sentence: str) -> NoReturn:
        raise InterruptedError(sentence)

    with device.lease(Holder("rl_data of demo|RandSampler/tiny_vl")):
        os.environ["CUDA_VISIBLE_DEVICES"] = "1"
        refused = pytest.raises(InterruptedError, match="GPU 1 is held by rl_data of demo")
        with refused, device.lease(on_wait=tell):
            pass


@pytest.mark.parametrize(("allowed", "seen"), [("1", ["1"]), ("1,0", ["1", "0"]), ("", []), ("-1", [])])
def test_the_users_choice_is_heard(
    two_gpus: None, monkeypatch: pytest.MonkeyPatch, allowed: str, seen: list[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", allowed)
    assert list(device.visible_gpus()) == seen


@pytest.mark.parametrize("name", ["GPU-aaaa", "GPU-a", "0"])
def test_a_gpu_has_one_lock_whatever_it_is_called(
    two_gpus: None, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with device.lease():
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", f"{name},1")
        with device.lease():
            assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"


def test_a_part_of_a_gpu_is_known_by_its_own_name(two_gpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-cccc")
    assert device.visible_gpus() == {"MIG-cccc": "MIG-cccc"}


def test_a_dead_holder_holds_nothing(two_gpus: None) -> None:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "0", "PYTHONPATH": str(Path.cwd())}
    with subprocess.Popen(program("hold_gpu"), env=environment, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        began = time.monotonic()
        with device.lease():  # GPU 0 is taken, so it is GPU 1
            assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"
        holder.kill()
    with device.lease():
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"
    assert time.monotonic() - began < 30
