"""A page of another origin, in a real browser, tries every way to command the UI or read it: nothing happens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from icd_assets_tests.worlds.chromium import chromium, needs_chromium
from icd_assets_tests.worlds.loopback import Loopback
from icd_assets_tests.worlds.served_ui import plain_webserver, served_ui
from icd_assets_tests.worlds.workplace import Workplace, new_workplace

pytestmark = [pytest.mark.slow, pytest.mark.browser]

RUN, KEY = "11111111-2222-4333-8444-555555555555", dg.AssetKey("leaderboard")
ORDERS = (
    'mutation { setConcurrencyLimit(concurrencyKey: "foreign", limit: 7) }',
    f'mutation {{ deleteRun(runId: "{RUN}") {{ __typename }} }}',
    'mutation { wipeAssets(assetPartitionRanges: [{assetKey: {path: ["leaderboard"]}}]) { __typename } }',
    'mutation { launchPipelineExecution(executionParams: {mode: "default", runConfigData: {resources: '
    '{shared: {config: {results_root: "foreign"}}}}, selector: {repositoryLocationName: "icd_assets", '
    'repositoryName: "__repository__", jobName: "__ASSET_JOB", assetSelection: [{path: ["leaderboard"]}]}}) '
    "{ __typename } }",
)
# Every way that a page has to send something; the result is what it could read: null, or a list of texts.
ATTACK = """async ([ui, orders]) => {
  const read = [], wait = ms => new Promise(done => setTimeout(done, ms));
  const keep = async answer => { const text = await answer.text(); if (text) read.push(text); };
  const add = (tag, values) => document.body.appendChild(Object.assign(document.createElement(tag), values));
  const form = (action, type, name, value) => {
    add('iframe', {name: 'f' + document.forms.length});
    const made = add('form', {action, method: 'post', enctype: type, target: 'f' + document.forms.length});
    made.appendChild(Object.assign(document.createElement('input'), {name, value}));
    made.submit();
  };
  for (const query of orders) {
    const url = ui + '/graphql?query=' + encodeURIComponent(query), body = JSON.stringify({query});
    for (const tag of ['img', 'script', 'iframe']) add(tag, {src: url});
    form(ui + '/graphql', 'application/x-www-form-urlencoded', 'query', query);
    form(ui + '/graphql', 'text/plain', body.slice(0, -1) + ', "x": "', '"}');
    navigator.sendBeacon(ui + '/graphql', body);
    for (const mode of ['no-cors', 'cors'])
      for (const type of ['text/plain', 'text/plain; application/json', 'application/json'])
        await fetch(ui + '/graphql', {method: 'POST', mode, body, headers: {'Content-Type': type}})
          .then(keep).catch(() => 0);
  }
  for (const kind of ['materialization', 'observation', 'check']) {
    const report = `${ui}/report_asset_${kind}/leaderboard?data_version=x&check_name=x&passed=true`;
    form(report, 'application/x-www-form-urlencoded', 'data_version', 'foreign');
    navigator.sendBeacon(report, '{}');
    await fetch(report, {method: 'POST', mode: 'no-cors'}).then(keep).catch(() => 0);
  }
  for (const path of ['/', '/server_info', '/runs'])
    await fetch(ui + path).then(keep).catch(() => 0);
  await new Promise(done => {
    const socket = new WebSocket(ui.replace('http', 'ws') + '/graphql', 'graphql-ws');
    socket.onopen = () => read.push('websocket');
    socket.onclose = done;
    setTimeout(done, 5000);
  });
  await wait(1500);
  for (const frame of document.querySelectorAll('iframe'))
    try { if (frame.contentDocument.body.innerText) read.push(frame.contentDocument.body.innerText); } catch {}
  return read;
}"""


class Page(Loopback):
    """The attacker's server: an empty page."""

    def __init__(self) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(b"<!doctype html><body></body>")

            def log_message(self, *_: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._http.server_address[1]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    return finished(tmp_path_factory.mktemp("foreign") / "work")


def finished(folder: Path) -> Workplace:
    """One finished run and one materialization, for an attacker to delete."""
    found = new_workplace(folder)
    with dg.DagsterInstance.from_config(str(found.folder)) as instance:
        instance.add_run(dg.DagsterRun(job_name="any", run_id=RUN, status=dg.DagsterRunStatus.SUCCESS))
        instance.report_runless_asset_event(dg.AssetMaterialization(KEY))
    return found


@pytest.fixture(scope="module")
def address(place: Workplace) -> Iterator[str]:
    with served_ui(place.folder, place.environment) as url:
        yield url


def kept(folder: Path) -> tuple[list[str], int, bool]:
    """What an order would have changed: runs, the asset's history, the pools that have a limit."""
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        runs = [run.run_id for run in instance.get_runs()]
        history = len(instance.fetch_materializations(KEY, limit=9).records)
        return runs, history, "foreign" in instance.event_log_storage.get_concurrency_keys()


@needs_chromium
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "evil.example", "rebound"])
def test_a_page_of_another_origin_changes_and_reads_nothing(place: Workplace, address: str, host: str) -> None:
    """``rebound``: the page's own name leads to the UI's address, as after DNS rebinding."""
    ui_port = address.rpartition(":")[2]
    with Page() as page_server, chromium("--host-resolver-rules=MAP evil.example 127.0.0.1") as browser:
        page = browser.new_page()
        if host == "rebound":
            there = f"http://evil.example:{ui_port}"
            answer = page.goto(there)
            assert answer is not None and answer.status == 403
            read = page.evaluate(ATTACK, [there, list(ORDERS)])
            # Of its own origin it may read what is answered: the refusal, and nothing else.
            assert [text for text in read if "is not called" not in text] == []
        else:
            page.goto(f"http://{host}:{page_server.port}/")
            assert page.evaluate(ATTACK, [address, list(ORDERS)]) == []
    assert kept(place.folder) == ([RUN], 1, False)


@needs_chromium
def test_the_same_orders_of_the_uis_own_page_are_obeyed(place: Workplace, address: str) -> None:
    """Else the attacks above would prove nothing. It deletes what they were to delete."""
    with chromium() as browser:
        page = browser.new_page()
        page.goto(address)
        read = page.evaluate(ATTACK, [address, list(ORDERS)])
    assert "websocket" in read and any("wipeAssets" in text for text in read), json.dumps(read)[:500]
    runs, _, limited = kept(place.folder)
    assert RUN not in runs and len(runs) >= 1 and limited


@needs_chromium
def test_without_the_guard_another_sites_page_is_obeyed(tmp_path: Path) -> None:
    """What the guard is for: Dagster's own web server does what a stranger's page asks of it."""
    place = finished(tmp_path / "work")
    with plain_webserver(place.folder, place.environment) as plain, Page() as page_server, chromium() as browser:
        page = browser.new_page()
        page.goto(f"http://localhost:{page_server.port}/")
        page.evaluate(ATTACK, [plain, list(ORDERS)])
    runs, _, limited = kept(place.folder)
    assert RUN not in runs and len(runs) >= 1 and limited
