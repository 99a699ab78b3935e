"""What the UI's server answers, of whom: each way by which another site's page gave orders, and DNS rebinding."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from icd_assets.defs.webserver.access import Access
from icd_assets.defs.webserver.guard import COOKIE, Guard

HERE = "http://127.0.0.1:3000"
SECRET = "0123456789abcdef"
ORDER = {"query": "mutation { wipeAssets }"}

Client = Callable[..., TestClient]


async def passed(request: Request) -> JSONResponse:
    return JSONResponse("passed")


async def socket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("passed")
    await websocket.close()


def client_of(access: Access = Access(), base_url: str = HERE) -> TestClient:  # noqa: B008 - frozen
    """A server where all that passes the guard is answered."""
    methods = ["GET", "POST", "PUT", "DELETE"]
    routes = [WebSocketRoute("/graphql", socket), Route("/{path:path}", passed, methods=methods)]
    app = Starlette(routes=routes)
    app.add_middleware(Guard, access=access)
    return TestClient(app, base_url=base_url, follow_redirects=False)


def refused(answer: Any, status: int = 403) -> str:
    """The one sentence."""
    assert answer.status_code == status, answer.text
    assert re.fullmatch(r"[^\n]+\.\n", answer.text) and answer.headers["X-Content-Type-Options"] == "nosniff"
    return str(answer.text)


def listens(client: TestClient, **headers: str) -> bool:
    address = str(client.base_url).replace("http", "ws", 1)
    try:
        with client.websocket_connect(f"{address}/graphql", headers=headers) as connected:
            return connected.receive_text() == "passed"
    except WebSocketDisconnect:
        return False


IMAGE = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
LINK = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
OWN = {"Origin": HERE, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}


def test_the_pages_and_programs_of_this_machine_are_answered() -> None:
    client = client_of()
    for headers in ({}, OWN, {"Sec-Fetch-Site": "none"} | {"Sec-Fetch-Mode": "navigate"}):
        assert client.get("/assets/rl_data", headers=headers).json() == "passed"
    for headers in ({}, OWN, OWN | {"Content-Type": "Application/JSON; charset=utf-8"}):
        for path in ("/graphql", "/report_asset_materialization/rl_data"):
            assert client.post(path, json=ORDER, headers=headers).json() == "passed"
    assert listens(client) and listens(client, Origin=HERE)
    assert client.get("/graphql", headers={"Accept": "text/html,*/*"}).json() == "passed"  # to type in


def test_a_link_on_another_site_may_be_followed_and_gives_no_order() -> None:
    client = client_of()
    assert client.get("/assets/rl_data", headers=LINK).json() == "passed"
    assert "POST of JSON" in refused(client.get("/graphql", params=ORDER, headers=LINK | {"Accept": "text/html"}))
    for method in ("POST", "PUT", "DELETE"):
        refused(client.request(method, "/assets/rl_data", headers=LINK))
    for changed in ({"Sec-Fetch-Dest": "iframe"}, {"Sec-Fetch-Mode": "no-cors"}, {"Origin": "null"}):
        assert "another site" in refused(client.get("/", headers=LINK | changed))


@pytest.mark.parametrize("headers", [{}, IMAGE, {"Accept": "application/json"}, {"Accept": "image/*"}])
@pytest.mark.parametrize("path", ["/graphql", "/graphql/", "/prefix/graphql", "/%67raphql"])
def test_an_image_tag_gives_no_order(path: str, headers: dict[str, str]) -> None:
    """Of browsers that send no Sec-Fetch headers, too."""
    refused(client_of().get(path, params=ORDER, headers=headers))


@pytest.mark.parametrize(
    "kind",
    [
        *("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", "", "application"),
        *(
            "text/plain; application/json",
            "application/graphql",
            "application/json-seq",
            "text/plain;,application/json",
        ),
    ],
)
@pytest.mark.parametrize("path", ["/graphql", "/report_asset_materialization/rl_data", "/report_asset_check/x"])
def test_a_form_or_a_text_gives_no_order(path: str, kind: str) -> None:
    """The one with parameters is a type that a page may send without asking, and Dagster takes for JSON."""
    client = client_of()
    assert "only JSON" in refused(client.post(path, params=ORDER, content=b"{}", headers={"Content-Type": kind}))


def test_a_post_without_a_type_gives_no_order() -> None:
    refused(client_of().post("/report_asset_materialization/rl_data", params={"data_version": "1"}))


@pytest.mark.parametrize(
    "origin",
    [
        *(
            "https://attacker.example",
            "null",
            "",
            "http://127.0.0.1:8888",
            "http://127.0.0.1",
            "http://localhost:3000",
        ),
        *("http://127.0.0.1:3000.attacker.example", "http://127.0.0.1:3000@attacker.example", "http://["),
    ],
)
def test_another_origin_is_not_answered(origin: str) -> None:
    client = client_of()
    assert "another site" in refused(client.post("/graphql", json=ORDER, headers={"Origin": origin}))
    assert "another site" in refused(client.get("/", headers={"Origin": origin}))
    assert not listens(client, Origin=origin)


@pytest.mark.parametrize("site", ["cross-site", "same-site", "", "same-origin, cross-site", "Same-Origin"])
def test_another_site_is_not_answered(site: str) -> None:
    client = client_of()
    assert "another site" in refused(client.post("/graphql", json=ORDER, headers={"Sec-Fetch-Site": site}))
    assert "another site" in refused(client.get("/logs/run/x.err", headers={"Sec-Fetch-Site": site}))
    assert not listens(client, **{"Sec-Fetch-Site": site})


@pytest.mark.parametrize(
    "host",
    [
        *(
            "127.0.0.1:3000",
            "localhost:3000",
            "LocalHost:3000",
            "localhost",
            "localhost.:3000",
            "[::1]:3000",
            "[::1]",
        ),
        *(
            "127.0.0.1:8080",
            "10.1.2.3:3000",
            "[2001:DB8::1]",
            "gpu7.lab.org:3000",
            "GPU7.lab.org.",
            "gpu7.lab.org",
        ),
    ],
)
def test_the_names_that_it_has_are_answered(host: str) -> None:
    """Any port, for a tunnel has another; and any number, for no DNS server can point it elsewhere."""
    client = client_of(Access(names=frozenset({"gpu7.lab.org"})))
    assert client.get("/", headers={"Host": host}).json() == "passed"
    assert (
        client.post("/graphql", json=ORDER, headers={"Host": host, "Origin": f"http://{host}"}).json() == "passed"
    )


@pytest.mark.parametrize(
    "host",
    [
        *("attacker.example", "attacker.example:3000", "localhost.attacker.example", "127.0.0.1.attacker.example"),
        *(
            "localhost:3000:3000",
            "localhost@attacker.example",
            "localhost:port",
            "localhost..",
            "",
            ":3000",
            "::1",
        ),
        *("[::1", "[localhost]", "[127.0.0.1]", "127.1", "2130706433", "0x7f.0.0.1", "lab.org", "x.gpu7.lab.org"),
        *("localhost,attacker.example", "127.0.0.1:3000/", "[::1]attacker.example", "a" * 9999),
    ],
)
def test_a_name_that_is_not_its_own_is_not_answered(host: str) -> None:
    """DNS rebinding: the page and its requests have the same origin, and a name that points here."""
    client = client_of(Access(names=frozenset({"gpu7.lab.org"})))
    rebound = {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
    for headers in (
        {"Host": host},
        rebound,
        rebound | {"X-Forwarded-Host": "localhost:3000", "Forwarded": "host=localhost"},
    ):
        answer = client.get("/", headers=headers)
        assert "is not called" in refused(answer) and len(answer.text) < 200
        refused(client.post("/graphql", json=ORDER, headers=headers))
        assert not listens(client, **headers)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("host", ("127.0.0.1:3000", "attacker.example")),
        ("origin", (HERE, "https://attacker.example")),
        ("content-type", ("application/json", "text/plain")),
        ("sec-fetch-site", ("same-origin", "cross-site")),
    ],
)
def test_a_header_that_is_there_twice_is_refused(name: str, values: tuple[str, str]) -> None:
    """Two readers could each believe another one."""
    for pair in (values, values[::-1]):
        headers = [(name, value) for value in pair]
        assert f"the header {name} is there twice" in refused(client_of().post("/graphql", headers=headers))


def test_other_machines_need_a_token_or_a_proxy() -> None:
    there = "http://10.1.2.3:3000"
    assert "other machines" in refused(client_of(base_url=there).get("/"))
    assert not listens(client_of(base_url=there))
    behind = client_of(Access(behind_proxy=True), there)
    assert behind.get("/").json() == "passed"
    refused(behind.get("/", headers={"Host": "attacker.example"}))
    assert client_of(base_url="http://[::1]:3000").get("/").json() == "passed"


@pytest.mark.parametrize("base_url", [HERE, "http://10.1.2.3:3000"])
def test_without_the_token_nothing_is_seen(base_url: str) -> None:
    client = client_of(Access(token=SECRET), base_url)
    bearer = {"Authorization": f"Bearer {SECRET}"}
    for headers in (
        {},
        {"Authorization": SECRET},
        {"Authorization": f"Bearer {SECRET}x"},
        {"Cookie": f"{COOKIE}={SECRET}"},
    ):
        answer = client.get("/", headers=headers)
        assert "?token=" in refused(answer, 401) and answer.headers["WWW-Authenticate"] == "Bearer"
        refused(client.post("/graphql", json=ORDER, headers=headers), 401)
        assert not listens(client, **headers)
    for wrong in ("", "ß", SECRET[:-1], SECRET.upper()):
        refused(client.get("/", params={"token": wrong}), 401)
    assert client.get("/", headers=bearer).json() == "passed"
    assert client.post("/graphql", json=ORDER, headers=bearer).json() == "passed"
    assert listens(client, **bearer)
    refused(client.post("/graphql", json=ORDER, headers=bearer | {"Origin": "https://attacker.example"}))


def test_the_first_visit_leaves_a_cookie_and_goes_on_without_the_token() -> None:
    client = client_of(Access(token=SECRET))
    first = client.get("/assets/rl data", params={"token": SECRET, "partition": 'a|b/"c'}, headers=LINK)
    assert first.status_code == 200 and "passed" not in first.text
    assert 'content="0;url=/assets/rl%20data?partition=a%7Cb%2F%22c"' in first.text and SECRET not in first.text
    kept = first.headers["set-cookie"].lower()
    assert "httponly" in kept and "samesite=strict" in kept and SECRET not in kept
    assert first.headers["Referrer-Policy"] == "no-referrer"
    assert client.get("/").json() == "passed"
    assert client.post("/graphql", json=ORDER, headers=OWN).json() == "passed"
    assert listens(client, Origin=HERE, Cookie=f"{COOKIE}={client.cookies[COOKIE]}")


@pytest.mark.parametrize(
    "path", ["//attacker.example/", "/\\attacker.example", "///attacker.example", '/"><script>']
)
def test_the_first_visit_leads_to_no_other_server(path: str) -> None:
    answer = client_of(Access(token=SECRET)).get(f"{HERE}{path}", params={"token": SECRET})
    target = re.search(r'url=([^"]*)"', answer.text)
    assert target is not None and re.match(r"/[^/\\]", target[1]) and "<script" not in answer.text


def test_no_other_site_may_frame_it() -> None:
    assert client_of().get("/").headers["X-Frame-Options"] == "SAMEORIGIN"
