"""What a library or a server says reaches the terminal without a key and without a control code."""

from __future__ import annotations

import logging
import warnings

import pytest

from icd_assets.cli import _say, ending

KEY = "hf_sesameOpenSesame0123456789"
WORDS = f"GET https://me:{KEY}@hub.example/x failed, Authorization: Bearer {KEY}, for \x1b[2Ja\u202eb"


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", KEY)


def harmless(text: str) -> bool:
    return "failed" in text and KEY not in text and "\x1b" not in text and "\u202e" not in text


def test_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    _say(WORDS)
    assert harmless(capsys.readouterr().err)


def test_a_librarys_warning() -> None:
    record = logging.LogRecord("library", logging.WARNING, "x.py", 1, WORDS, (), None)
    assert harmless(ending._Harmless().format(record))
    assert harmless(ending._warning(UserWarning(WORDS), UserWarning, "x\x1b.py", 1))


def test_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr(ending, "_write", written.append)
    ending._unexplained(ValueError, ValueError(WORDS), None)
    ending._unexplained(ValueError, ValueError(WORDS * 100_000), None)
    assert all(map(harmless, written)) and len(written) == 2
    assert max(map(len, written)) < 200_000


def test_they_are_in_their_places(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((warnings, "formatwarning"), (ending.sys, "excepthook")):
        monkeypatch.setattr(module, name, getattr(module, name))
    monkeypatch.setattr(ending.threading, "excepthook", ending.threading.excepthook)
    monkeypatch.setattr(ending.signal, "signal", lambda *_: None)
    monkeypatch.setattr(ending, "_open_streams", lambda: None)
    before = logging.lastResort
    assert before is not None
    formatter = before.formatter
    try:
        ending.begin()
        assert warnings.formatwarning is ending._warning
        assert isinstance(before.formatter, ending._Harmless)
    finally:
        before.formatter = formatter
