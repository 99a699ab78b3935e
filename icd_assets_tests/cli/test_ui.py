"""``icd-assets ui`` and ``gpus``: one UI per home, and the pool's limit."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from icd_assets.defs.webserver.access import Access
from icd_assets.runtime.process_record import ProcessRecord
from icd_assets_tests.worlds.commands import Run, run, world
from icd_assets_tests.worlds.manifests import World
from icd_assets_tests.worlds.served_ui import free_port

__all__ = ["run", "world"]


class Became(BaseException):
    """The program that the process would have become."""


@pytest.fixture(autouse=True)
def _do_not_become_dagster(monkeypatch: pytest.MonkeyPatch) -> None:
    def become(program: str, arguments: list[str]) -> None:
        raise Became(arguments)

    monkeypatch.setattr(os, "execv", become)


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def started(run: Run, *arguments: str) -> list[str]:
    with pytest.raises(Became) as became:
        run("ui", *arguments)
    return list(became.value.args[0])


def record(world: World) -> Path:
    return world.folder / "storage/icd_assets_ui.json"


def test_the_first_one_becomes_dagster_and_leaves_its_address(world: World, run: Run) -> None:
    port = free_port()
    world.cell("d0|RandSampler/m0")
    command = started(run, "--port", str(port), "--log-level", "debug")
    assert command == [
        *(sys.executable, "-m", "icd_assets.defs.webserver.dev", "-m", "icd_assets.definitions"),
        *("--host", "127.0.0.1", "--port", str(port), "--log-level", "debug"),
    ]
    kept = json.loads(record(world).read_text(encoding="utf-8"))
    assert (kept["pid"], kept["port"]) == (os.getpid(), port)
    import dagster as dg

    with dg.DagsterInstance.from_config(str(world.folder)) as instance:
        assert instance.get_dynamic_partitions("cell") == ["d0|RandSampler/m0"]


def test_a_second_one_says_where_the_first_is_and_ends(world: World, run: Run) -> None:
    port = free_port()
    started(run, "--port", str(port))  # this process lives, as the first UI would
    for arguments in ([], ["--port", str(free_port())]):
        again = run("ui", *arguments)
        assert again.code == 0
        address = f"http://127.0.0.1:{port}"
        assert again.output == f"the UI of this folder is at {address} already (process {os.getpid()})\n"


@pytest.mark.parametrize("ended", ["process", "reboot"])
def test_the_record_of_one_that_has_ended_stops_nobody(world: World, run: Run, ended: str) -> None:
    started(run, "--port", str(free_port()))
    kept = json.loads(record(world).read_text(encoding="utf-8"))
    if ended == "process":
        child = subprocess.Popen([sys.executable, "-c", ""])
        child.wait()
        kept["pid"] = child.pid
    else:  # the number lives on, as another process's
        kept["born"] = re.sub(r"^[^/]+", "another-boot", kept["born"])
    record(world).write_text(json.dumps(kept), encoding="utf-8")
    started(run, "--port", str(free_port()))
    assert json.loads(record(world).read_text(encoding="utf-8"))["pid"] == os.getpid()


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"pid": "x"}', b"\xff\xfe", b'{"pid": 1}', b"null"])
def test_a_record_that_is_none_stops_nobody(world: World, run: Run, content: bytes) -> None:
    record(world).parent.mkdir(exist_ok=True)
    record(world).write_bytes(content)
    started(run, "--port", str(free_port()))


def test_a_number_without_a_birth_counts_only_while_its_port_is_used(world: World, run: Run, taken: int) -> None:
    """Where the system does not say when a process began."""
    here = ProcessRecord.of(os.getpid()).host
    gone = {"machine": here, "pid": os.getpid(), "born": "", "host": "127.0.0.1"}
    record(world).parent.mkdir(exist_ok=True)
    record(world).write_text(json.dumps(gone | {"port": taken}), encoding="utf-8")
    assert run("ui").code == 0
    record(world).write_text(json.dumps(gone | {"port": free_port()}), encoding="utf-8")
    started(run, "--port", str(free_port()))


def test_a_daemon_that_a_killed_ui_left_is_named(world: World, run: Run, tmp_path: Path) -> None:
    """A second daemon would launch every tick twice."""
    package = tmp_path / "dagster" / "_daemon"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text("print(flush=True)\ninput()\n")

    def daemon(home: Path) -> subprocess.Popen[str]:
        begun = subprocess.Popen(
            [sys.executable, "-m", "dagster._daemon", "run"],
            env={"DAGSTER_HOME": str(home), "PYTHONPATH": str(tmp_path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert begun.stdout is not None
        begun.stdout.readline()
        return begun

    with daemon(world.folder) as left, daemon(tmp_path / "another") as other:
        refused = run("ui", "--port", str(free_port()))
        assert refused.code == 2
        assert refused.error == (
            f"another Dagster UI of this folder left processes at work; end them: kill {left.pid}"
        )
        left.communicate("\n")
        started(run, "--port", str(free_port()))
        other.communicate("\n")


def test_a_port_of_another_program_is_one_sentence(world: World, run: Run, taken: int) -> None:
    refused = run("ui", "--port", str(taken))
    assert refused.code == 2
    found = re.fullmatch(
        rf"port {taken} is used by another program; take a free one: icd-assets ui --port (\d+)\.", refused.error
    )
    assert found is not None, refused.error
    started(run, "--port", found[1])  # which is free


def test_beyond_loopback_a_token_is_needed_and_left_to_the_server(
    world: World, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ICD_UI_TOKEN", "ICD_UI_HOSTS", "ICD_UI_BEHIND_PROXY"):
        monkeypatch.setenv(name, "")  # and as it was, after the test
    port = ("--port", str(free_port()))
    refused = run("ui", "--host", "0.0.0.0", *port)
    assert refused.code == 2 and refused.error.startswith("--host 0.0.0.0 lets other machines give orders here;")
    assert not record(world).exists()
    assert run("ui", "--host", "0.0.0.0", "--token", "short", *port).error.startswith(
        "ICD_UI_TOKEN is shorter than"
    )
    assert run("ui", "--allow-host", "http://icd", *port).error.startswith("ICD_UI_HOSTS='http://icd' is no name")
    os.environ |= {"ICD_UI_TOKEN": "", "ICD_UI_HOSTS": "icd.lab.org"}
    secret = "0123456789abcdef"
    command = started(run, "--host", "0.0.0.0", "--token", secret, "--allow-host", "gpu7", *port)
    assert secret not in command  # which every user of the machine sees
    assert Access.read(os.environ) == Access(frozenset({"icd.lab.org", "gpu7"}), secret)


def test_behind_a_proxy_that_asks_for_a_login_no_token_is_needed(
    world: World, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ICD_UI_BEHIND_PROXY", "")
    monkeypatch.setenv("ICD_UI_HOSTS", "")
    started(run, "--host", "0.0.0.0", "--behind-proxy", "--port", str(free_port()))
    assert Access.read(os.environ).behind_proxy


def test_a_host_that_this_machine_is_not_is_one_sentence(world: World, run: Run) -> None:
    refused = run("ui", "--host", "no such host")
    assert refused.code == 2
    assert refused.error.startswith("--host no such host: this machine has no such address")


@pytest.mark.parametrize("text", ["", "\n\n", "# telemetry: {enabled: false}\n\n  # runs: 4\n"])
def test_a_home_without_settings_is_refused(world: World, run: Run, text: str) -> None:
    """Dagster's defaults send telemetry."""
    (world.folder / "dagster.yaml").write_text(text, encoding="utf-8")
    assert run("gpus").error.startswith(f"{world.folder / 'dagster.yaml'} holds ")
    assert not (world.folder / "history").exists()


def test_gpus_shows_and_sets_the_limit(world: World, run: Run) -> None:
    assert run("gpus").output.startswith("GPU steps at once: any number; set one: icd-assets gpus 1\n")
    assert run("gpus", "2").output.startswith("GPU steps at once: 2\n")
    assert run("gpus").output.startswith("GPU steps at once: 2\n")
    assert run("gpus", "0").code == 2
    assert run("gpus", "two").code == 2
    assert run("gpus").output.startswith("GPU steps at once: 2\n")


def test_gpus_knows_the_limit_that_dagster_yaml_gives(world: World, run: Run) -> None:
    settings = "telemetry: {enabled: false}\nconcurrency: {pools: {default_limit: 3}}\n"
    (world.folder / "dagster.yaml").write_text(settings, encoding="utf-8")
    assert run("gpus").output.startswith("GPU steps at once: 3\n")
    assert run("gpus", "1").output.startswith("GPU steps at once: 1\n")
