"""The UI under load while it runs a job: requests a second, latency, what is refused, memory; with the guard and
without.

    python benchmarks/ui_load.py HOME [--rate 200] [--seconds 60] [--connections 5000]

HOME is a folder in which ``icd-assets demo`` has ended; one more experiment of its cell is run there. Requests are
sent on time whether or not the former are answered (latency counts from when one was due), and left out where 200
wait. A plain Dagster webserver of the same home stands on another port for the comparison, in turns. At the end
come half-open connections, and a body of one GiB without a length.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import statistics
import time
import urllib.request
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
import httpx

from icd_assets_tests.worlds.served_ui import plain_webserver, served_ui
from icd_assets_tests.worlds.workplace import Workplace

KEY = "demo|RandSampler/tiny_vl"
FOREIGN = {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}
VERSION, RUNS = (
    {"query": "{ version }"},
    {"query": "{ runsOrError(limit: 5) { ... on Runs { results { status } } } }"},
)
ORDER = {"query": 'mutation { setConcurrencyLimit(concurrencyKey: "foreign", limit: 7) }'}
LAUNCH = """mutation($p: ExecutionParams!) { launchPipelineExecution(executionParams: $p) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  ... on RunConfigValidationInvalid { errors { message } } } }"""
STATUS = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
OURS = {"Content-Type": "application/json"}


def mixed() -> list[tuple[str, str, bytes, dict[str, str]]]:
    """(method, path, body, headers), made once: a sender must cost less than what it measures. Every tenth body is
    large, and half of the requests are another site's."""
    version, runs, order, large = (
        json.dumps(body).encode()
        for body in (VERSION, RUNS, ORDER, VERSION | {"variables": {"filler": "x" * 2**18}})
    )
    return [
        ("GET", "/assets", b"", {}),
        ("GET", f"/graphql?{urlencode(ORDER)}", b"", {}),
        ("POST", "/graphql", version, OURS),
        ("POST", "/graphql", order, OURS | FOREIGN),
        ("GET", "/server_info", b"", {}),
        ("GET", "/", b"", {"Host": "evil.example"}),
        ("POST", "/graphql", runs, OURS),
        ("POST", "/graphql", order, {"Content-Type": "text/plain"}),
        ("POST", "/graphql", large, OURS),
        ("POST", "/report_asset_materialization/leaderboard?data_version=1", b"", {}),
    ]


def asked(url: str, query: str, **variables: object) -> dict[str, object]:
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"{url}/graphql", data=body, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        found: dict[str, object] = json.load(answer)["data"]
        return found


def launched(url: str) -> str:
    """The run of an experiment of a new name."""
    named = {"recipe": "beams", "name": f"load{int(time.time())}"}
    params = {
        "selector": {
            "repositoryLocationName": "icd_assets",
            "repositoryName": "__repository__",
            "pipelineName": "rce_recipe",
        },
        "runConfigData": {"resources": {"shared": {"config": named}}},
        "mode": "default",
        "executionMetadata": {"tags": [{"key": "dagster/partition", "value": KEY}]},
    }
    answer = asked(url, LAUNCH, p=params)["launchPipelineExecution"]
    assert isinstance(answer, dict) and "run" in answer, answer
    return str(answer["run"]["runId"])


def webserver(port: int) -> int:
    """The process that serves it."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            ours = b"icd_assets.defs.webserver" in words or b"dagster_webserver" in words
            if ours and str(port).encode() in words:
                return int(folder.name)
    raise SystemExit("the web server is not found")


def mebibytes(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


async def load(url: str, pid: int, rate: float, seconds: float) -> tuple[Counter[str], list[float], list[float]]:
    """(answers by kind, seconds of each, MiB at each quarter)"""
    counts: Counter[str] = Counter()
    mix = mixed()
    taken: dict[str, list[float]] = {"refused": [], "answered": []}
    memory = [mebibytes(pid)]
    waiting: set[asyncio.Task[None]] = set()

    async def one(client: aiohttp.ClientSession, number: int, due: float) -> None:
        method, path, body, headers = mix[number % len(mix)]
        try:
            async with client.request(method, url + path, data=body, headers=headers) as answer:
                await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            counts[type(error).__name__] += 1
            return
        counts[f"{answer.status // 100}xx"] += 1
        taken["refused" if answer.status == 403 else "answered"].append(time.perf_counter() - due)

    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=64), timeout=aiohttp.ClientTimeout(60), auto_decompress=False
    ) as client:
        began = time.perf_counter()
        for number in range(int(rate * seconds)):
            due = began + number / rate
            if (pause := due - time.perf_counter()) > 0:
                await asyncio.sleep(pause)
            if len(memory) <= 4 * number / (rate * seconds):
                memory.append(mebibytes(pid))
            if len(waiting) >= 200:
                counts["not sent"] += 1
                await asyncio.sleep(0)
                continue
            task = asyncio.create_task(one(client, number, due))
            waiting.add(task)
            task.add_done_callback(waiting.discard)
        if waiting:
            await asyncio.wait(waiting)
        counts["seconds"] = round(time.perf_counter() - began)
    memory.append(mebibytes(pid))
    for kind, each in taken.items():
        print(f"  {kind:<9} {len(each):>6}   p50 {quantile(each, 50):7.1f} ms   p99 {quantile(each, 99):7.1f} ms")
    return counts, taken["answered"], memory


def quantile(seconds: list[float], percent: int) -> float:
    """In milliseconds."""
    return 1000 * statistics.quantiles(seconds, n=100)[percent - 1] if len(seconds) > 1 else float("nan")


def compared(guarded: str, plain: str, number: int = 300) -> None:
    """Latency of the same request to both, in turns."""
    taken: dict[str, list[float]] = {guarded: [], plain: []}
    with httpx.Client(timeout=60, trust_env=False) as client:
        for turn in range(2 * number):
            url = (guarded, plain)[turn % 2]
            began = time.perf_counter()
            client.post(f"{url}/graphql", json=VERSION).raise_for_status()
            taken[url].append(time.perf_counter() - began)
    with_guard, without = (statistics.median(taken[url]) for url in (guarded, plain))
    print(
        f"one after the other, {number} each: {1000 * with_guard:.2f} ms with the guard, {1000 * without:.2f} ms"
    )
    print(f"  without, ratio {with_guard / without:.2f}")


def half_open(url: str, port: int, pid: int, number: int) -> None:
    before, slowest = mebibytes(pid), 0.0
    with ExitStack() as stack:
        for opened in range(number):
            with suppress(OSError):
                connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
                connection.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ")
            if opened % 500 == 499:
                slowest = max(slowest, answer_time(url))
        slowest = max(slowest, answer_time(url))
        files = len([*Path(f"/proc/{pid}/fd").iterdir()])
        print(f"{number} half-open connections: the slowest of a program's answers took {slowest:.2f} s,")
        print(f"  {files} files open, memory {before:.0f} -> {mebibytes(pid):.0f} MiB")


def answer_time(url: str) -> float:
    began = time.perf_counter()
    with urllib.request.urlopen(f"{url}/server_info", timeout=60):
        return time.perf_counter() - began


def large_body(url: str, port: int, pid: int) -> None:
    head = f"POST /graphql HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    piece, before, most, sent = b"100000\r\n" + b" " * 2**20 + b"\r\n", mebibytes(pid), 0.0, 0
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        with suppress(OSError):
            for sent in range(1024):  # noqa: B007
                connection.sendall(piece)
                most = max(most, mebibytes(pid))
        answer = b""
        with suppress(OSError):
            answer = connection.recv(100)
    print(f"one GiB in a body: {sent + 1} MiB were taken from the line, answer {answer[9:12].decode() or 'none'},")
    print(f"  memory {before:.0f} -> at most {most:.0f} MiB; the next answer took {answer_time(url):.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", type=Path)
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--connections", type=int, default=5000)
    given = parser.parse_args()
    place = Workplace(given.home.resolve())
    environment = {name: value for name, value in place.environment.items() if name != "ICD_CATALOG"}
    with served_ui(place.folder, environment) as url, plain_webserver(place.folder, environment) as plain:
        port = int(url.rpartition(":")[2])
        pid, run = webserver(port), launched(url)
        print(f"{given.rate:.0f} requests a second for {given.seconds:.0f} s, while run {run} goes on")
        counts, _, memory = asyncio.run(load(url, pid, given.rate, given.seconds))
        answered = counts["2xx"] + counts["4xx"] + counts["5xx"]
        print(f"  {answered / counts['seconds']:.0f} a second were answered, of {answered}: {dict(counts)}")
        print(f"  refused {counts['4xx'] / max(1, answered):.0%}, errors 5xx {counts['5xx']}")
        print(
            f"  memory {' '.join(f'{each:.0f}' for each in memory)} MiB, grown by {memory[-1] / memory[1] - 1:.0%}"
        )
        print(f"  run: {status(url, run)}")
        compared(url, plain)
        half_open(url, port, pid, given.connections)
        large_body(url, port, pid)
        end = time.monotonic() + 240
        while status(url, run) in ("STARTED", "STARTING", "QUEUED", "NOT_STARTED") and time.monotonic() < end:
            time.sleep(2)
        print(f"run at the end: {status(url, run)}")


def status(url: str, run: str) -> str:
    found = asked(url, STATUS, id=run)["runOrError"]
    assert isinstance(found, dict)
    return str(found.get("status"))


if __name__ == "__main__":
    main()
