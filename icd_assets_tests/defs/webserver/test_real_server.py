"""The real server in front of the real Dagster: another site's page changes nothing, our own page does."""

from __future__ import annotations

import json
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import dagster as dg
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from icd_assets.defs.webserver.addresses import asset_address
from icd_assets.runtime.left_by_ui import left_at_work
from icd_assets_tests.worlds.chromium import chromium, needs_chromium
from icd_assets_tests.worlds.served_ui import served_ui, ui_of_a_script
from icd_assets_tests.worlds.workplace import CELL, KEY, Workplace

pytestmark = pytest.mark.slow

LIMIT = "mutation { setConcurrencyLimit(concurrencyKey: %s, limit: 7) }"
REPORT = "/cells/demo/RandSampler/tiny_vl/report"


@pytest.fixture(scope="module")
def place(trained: tuple[Workplace, str], tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """A copy of the trained one, for a UI writes its records there."""
    found = Workplace(tmp_path_factory.mktemp("ui") / "work")
    shutil.copytree(trained[0].folder, found.folder)
    return found


@pytest.fixture(scope="module")
def address(place: Workplace) -> Iterator[str]:
    with served_ui(place.folder, place.environment) as url:
        yield url
    assert left_at_work(place.folder) == []


def test_a_script_that_started_it_can_end_it(place: Workplace) -> None:
    with ui_of_a_script(place.folder, place.environment) as server:
        server.terminate()
        server.wait(30)
        end = time.monotonic() + 15
        while left_at_work(place.folder) and time.monotonic() < end:
            time.sleep(0.2)
        assert left_at_work(place.folder) == []


def asked(url: str, body: bytes | None = None, **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(url, data=body, headers={k.replace("_", "-"): v for k, v in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def limits(place: Workplace) -> set[str]:
    """The pools that somebody gave a limit."""
    with dg.DagsterInstance.from_config(str(place.folder)) as instance:
        return set(instance.event_log_storage.get_concurrency_keys())


def order(pool: str) -> dict[str, str]:
    return {"query": LIMIT % json.dumps(pool)}


def test_another_sites_page_gives_no_order_and_our_own_does(place: Workplace, address: str) -> None:
    page = {"Origin": "https://attacker.example", "Sec_Fetch_Site": "cross-site"}
    graphql, sent = f"{address}/graphql", json.dumps(order("posted")).encode()
    report = f"{address}/report_asset_materialization/leaderboard?data_version=1"
    attacks: list[tuple[int, str]] = [
        asked(f"{graphql}?{urlencode(order('image'))}"),
        asked(f"{graphql}?{urlencode(order('link'))}", Accept="text/html", Sec_Fetch_Site="cross-site"),
        asked(f"{graphql}?{urlencode(order('form'))}", b"x=1", **page),
        asked(f"{graphql}?{urlencode(order('form'))}", b"x=1"),
        asked(graphql, sent, Content_Type="text/plain; application/json"),
        asked(graphql, sent, Content_Type="application/json", **page),
        asked(graphql, sent, Content_Type="application/json", Host="attacker.example"),
        asked(f"{address}/assets", Host="attacker.example"),
        asked(report, b""),
        asked(report, b"{}", Content_Type="application/json", **page),
    ]
    for number, (status, text) in enumerate(attacks):
        assert status == 403 and text.endswith(".\n"), (number, status, text)
    assert limits(place) & {"image", "link", "form", "posted"} == set()
    assert asked(graphql, sent, Content_Type="application/json", Origin=address)[0] == 200
    assert "posted" in limits(place)


def test_a_foreign_page_gets_no_websocket(address: str) -> None:
    url = f"{address.replace('http', 'ws')}/graphql"
    for headers in ({"Origin": "https://attacker.example"}, {"Host": "attacker.example"}):
        with pytest.raises(InvalidStatus) as refused:
            connect(url, additional_headers=headers, subprotocols=["graphql-ws"])
        assert refused.value.response.status_code in (400, 403)  # a Host besides the client's own is no HTTP
    with connect(url, additional_headers={"Origin": address}, subprotocols=["graphql-ws"]) as own:
        own.send(json.dumps({"type": "connection_init"}))
        assert json.loads(own.recv(timeout=20)) == {"type": "connection_ack"}


def test_the_report_is_that_of_the_command(place: Workplace, address: str, tmp_path: Path) -> None:
    status, page = asked(f"{address}{REPORT}")
    assert status == 200
    written = tmp_path / "report.html"
    assert place.run("report", *CELL, "--output", str(written)).returncode == 0
    assert page == written.read_text(encoding="utf-8")
    assert asked(f"{address}{REPORT}?folder=v3_RandSampler_tiny_vl") == (200, page)
    for wrong in (REPORT.replace("tiny_vl", "tiny"), f"{REPORT}?folder=../v2", REPORT.replace("Rand", "Mix")):
        status, text = asked(f"{address}{wrong}")
        assert status == 404 and text.count("\n") == 1, text


@needs_chromium
@pytest.mark.browser
def test_in_a_browser_the_ui_works_and_the_report_is_alive(address: str) -> None:
    """Nothing that the UI's own page asks for is refused, its websocket included."""
    refused: list[Any] = []
    with chromium() as browser:
        page = browser.new_page()
        page.on("response", lambda answer: answer.status in (401, 403) and refused.append(answer.url))
        page.on("pageerror", lambda error: refused.append(str(error)))
        for path in ("/", "/assets/evaluation", "/runs", "/automation"):
            page.goto(f"{address}{path}")
            page.wait_for_load_state("networkidle")
        page.goto(f"{address}{REPORT}")
        page.wait_for_selector("article")  # the script has run
        assert refused == []


@needs_chromium
@pytest.mark.browser
def test_from_the_evaluation_to_its_rl_data_and_its_report_by_clicks(address: str) -> None:
    """Every link stands in the table without a click on something else, and opens this cell."""

    def value(name: str) -> Any:
        row = page.get_by_role("row").filter(has=page.get_by_text(name, exact=True))
        return row.get_by_role("cell").nth(1)

    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1600, "height": 1200})
        page.goto(f"{address}{asset_address('evaluation', KEY)}")
        chart = value("scores").locator("img")
        chart.wait_for()
        assert chart.evaluate("picture => picture.decode().then(() => picture.naturalWidth)") == 480
        for asset in ("v2format_checkpoint", "grpo_checkpoints", "rl_data"):
            value(asset).get_by_role("link").first.click()
            page.wait_for_url(f"**{asset_address(asset, KEY)}")
            page.get_by_text("Materialized", exact=True).wait_for()
        value("v2_checkpoint").get_by_role("link").nth(1).click()
        page.wait_for_url("**/runs/*")
        page.goto(f"{address}{asset_address('evaluation', KEY)}")
        value("report").get_by_role("link").click()
        page.wait_for_selector("article")
