"""A signed folder verifies with the library's own command, and nothing that was changed since does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from icd_assets.experiment.experiment import Experiment
from icd_assets_tests.share.keys import new_key, private
from icd_assets_tests.share.test_folder import CELL, PARTS
from icd_assets_tests.worlds.commands import Run


def verify(folder: Path, public_key: Path, *more: str) -> int:
    """As docs/share.md has it."""
    command = [sys.executable, "-m", "model_signing", "verify", "key", str(folder)]
    command += ["--signature", str(folder / "model.sig"), "--public_key", str(public_key), *more]
    return subprocess.run(command, capture_output=True, text=True).returncode


@pytest.fixture
def signed(cell: Experiment, run: Run, key: Path, tmp_path: Path) -> Path:
    ended = run("export", CELL, "--to", str(tmp_path / "signed"), "--sign", str(key))
    assert ended.code == 0, ended.error
    return tmp_path / "signed"


def test_it_verifies_and_a_changed_byte_does_not(signed: Path, key: Path) -> None:
    public = key.with_suffix(".pub")
    assert {path.name for path in signed.iterdir()} == {*PARTS, "model.sig"}
    assert verify(signed, public) == 0
    for name in PARTS:
        path = signed / name
        content = path.read_bytes()
        path.write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])
        assert verify(signed, public) != 0, name
        path.write_bytes(content)
    assert verify(signed, public) == 0


def test_an_added_file_or_another_key_does_not(signed: Path, key: Path, tmp_path: Path) -> None:
    other = new_key(tmp_path / "other.pem")
    assert verify(signed, other.with_suffix(".pub")) != 0
    (signed / "run_me.py").write_text("print(1)", encoding="utf-8")
    assert verify(signed, key.with_suffix(".pub")) != 0
    (signed / "run_me.py").unlink()
    (signed / ".cache").mkdir()  # of hf download --local-dir
    (signed / ".cache" / "x").write_text("x", encoding="utf-8")
    assert verify(signed, key.with_suffix(".pub")) != 0
    assert verify(signed, key.with_suffix(".pub"), "--ignore-paths", str(signed / ".cache")) == 0


@pytest.mark.parametrize(
    "kind", ["none", "empty", "truncated", "public", "rsa", "other curve", "encrypted", "folder"]
)
def test_what_cannot_sign_is_named_before_anything_is_written(
    cell: Experiment, run: Run, key: Path, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "bad.pem"
    pem = key.read_bytes()
    content = {
        "empty": b"",
        "truncated": pem[: len(pem) // 2],
        "public": key.with_suffix(".pub").read_bytes(),
        "rsa": private(rsa.generate_private_key(65537, 2048)),
        "other curve": private(ec.generate_private_key(ec.SECP256K1())),
        "encrypted": private(ec.generate_private_key(ec.SECP256R1()), b"secret"),
    }
    if kind == "folder":
        path.mkdir()
    elif kind != "none":
        path.write_bytes(content[kind])
    ended = run("export", CELL, "--to", str(tmp_path / "out"), "--sign", str(path))
    assert ended.code == 2 and f"{path} is no private key that can sign (" in ended.error
    assert "\n" not in ended.error and "secret" not in ended.error
    assert not (tmp_path / "out").exists()


def test_without_the_extra_it_says_what_to_install(
    cell: Experiment, run: Run, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "model_signing", None)
    ended = run("export", CELL, "--to", str(tmp_path / "out"), "--sign", str(key))
    assert ended.code == 2 and "pip install 'icd-assets[signing]'" in ended.error
