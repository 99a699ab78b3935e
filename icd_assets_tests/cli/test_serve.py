"""``icd-assets serve`` as a real process: it answers, other machines only with a token, and ends."""

from __future__ import annotations

import base64
import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from icd_assets.cli import group
from icd_assets.errors import UserError
from icd_assets_tests.worlds.workplace import CELL, Workplace


@contextmanager
def serving(place: Workplace, *flags: str, **variables: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The process, and the port that it names."""
    process = subprocess.Popen(
        [sys.executable, "-m", "icd_assets.cli", "serve", *CELL, "--port", "0", *flags],
        cwd=place.folder,
        env=place.environment | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        found = re.search(r"answers at http://[\d.]+:(\d+)/select; Ctrl-C ends it", process.stdout.readline())
        assert found is not None, process.communicate()[1]
        yield process, int(found[1])
    finally:
        process.kill()
        process.communicate()


def ask(port: int, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    content = None if body is None else json.dumps(body)
    with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request(method, path, content, {"Content-Type": "application/json"} | headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def test_it_answers_as_select_does_until_ctrl_c(trained: tuple[Workplace, str]) -> None:
    place = trained[0]
    picture = next(place.folder.rglob("COCO_val_*.jpg"))
    shown = place.run("select", str(picture), "what food does it eat?", *CELL, "--json")
    expected = [one["row"] for one in json.loads(shown.stdout)["demonstrations"]]
    query = {"question": "what food does it eat?", "image": base64.b64encode(picture.read_bytes()).decode()}
    with serving(place) as (process, port):
        assert ask(port, "GET", "/health")[1]["cell"] == "demo|RandSampler/tiny_vl"
        status, answer = ask(port, "POST", "/select", {"query": query})
        assert status == 200, answer
        assert [one["row"] for one in answer["demonstrations"]] == expected
        assert ask(port, "POST", "/select", {"query": {"image": "eA=="}})[0] == 422
        again = place.run("serve", *CELL, "--port", str(port))
        assert again.returncode == 2 and len(again.stderr.splitlines()) == 1
        assert f"port {port} of 127.0.0.1 cannot be served at" in again.stderr
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out, err) == (0, "ended\n", "")


def test_other_machines_need_the_token_and_sigterm_ends_it_despite_a_hanging_request(
    trained: tuple[Workplace, str],
) -> None:
    with serving(trained[0], "--host", "0.0.0.0", ICD_SERVE_TOKEN="secret") as (process, port):
        assert ask(port, "GET", "/health")[0] == 401
        assert ask(port, "GET", "/health", Authorization="Bearer secret", Host="my.server:8400")[0] == 200
        with socket.create_connection(("127.0.0.1", port)) as hanging:
            start = "POST /select HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer secret\r\n"
            hanging.sendall(f"{start}Content-Type: application/json\r\nContent-Length: 99\r\n\r\n{{".encode())
            assert ask(port, "GET", "/health", Authorization="Bearer secret")[0] == 200
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=30) == 0


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "example.com", "127.0.0.1.example.com", ""])
def test_other_machines_are_not_served_without_a_token(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICD_SERVE_TOKEN", "")
    ended = CliRunner().invoke(group, ["serve", "--host", host])
    assert isinstance(ended.exception, UserError)
    assert "set ICD_SERVE_TOKEN to a secret" in str(ended.exception)


def test_what_it_needs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["icd_assets.cli.serve"], "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs the package fastapi; pip install 'icd-assets\[serve\]'"):
        CliRunner().invoke(group, ["serve"], catch_exceptions=False)


def test_an_address_that_is_none_is_named(workplace: Workplace) -> None:
    ended = workplace.run("serve", "--host", "203.0.113.7", ICD_SERVE_TOKEN="a")
    assert ended.returncode == 2 and "port 8400 of 203.0.113.7 cannot be served at" in ended.stderr
    ended = workplace.run("serve", "--host", "no such host", ICD_SERVE_TOKEN="a")
    assert ended.returncode == 2 and "--host no such host is no address of this machine" in ended.stderr


def test_a_cell_without_a_selector_is_named(workplace: Workplace) -> None:
    ended = workplace.run("serve", *CELL, "--port", "0")
    assert ended.returncode == 2 and "has no trained selector yet" in ended.stderr
    assert not Path(workplace.folder, "results", "demo", "cache").exists()
