"""The selector over HTTP: what it answers, and what is refused, of whom, before it costs anything."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient
from torch.nn.functional import normalize

from icd_assets.runtime import http_port
from icd_assets.selector.config import SelectorConfig
from icd_assets.selector.encoder import ClipEncoder
from icd_assets.selector.model import new_policy
from icd_assets.use import sent_picture
from icd_assets.use.cell_selector import CellSelector
from icd_assets.use.selector import Selector
from icd_assets.use.server import app_of
from icd_assets.vlm.data_url import data_url
from icd_assets.vlm.prompts import PromptStyle, Shot
from icd_assets_tests.worlds.tiny import tiny_clip, write_images

QUESTION = "what shape is this"


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> list[Shot]:
    images = write_images(tmp_path_factory.mktemp("pictures"), 12)
    return [Shot(image, QUESTION, f"answer {at}") for at, image in enumerate(images)]


@pytest.fixture(scope="module")
def of_a_cell(train: list[Shot]) -> CellSelector:
    policy = new_policy(SelectorConfig(embedding_dim=24, hidden_dim=16, architecture="v2"), 5).eval()
    return CellSelector("v2 (singles)", Selector(policy, ClipEncoder.load(str(tiny_clip()))).index(train, pool=4))


Client = Callable[..., TestClient]


@pytest.fixture
def client_of(of_a_cell: CellSelector, train: list[Shot]) -> Iterator[Client]:
    def opened(hosts: tuple[str, ...] = ("127.0.0.1", "[::1]"), **changes: Any) -> TestClient:
        app = app_of(
            of_a_cell, train, cell="demo|RandSampler/tiny_vl", style=PromptStyle(), hosts=hosts, **changes
        )
        return TestClient(app, base_url="http://127.0.0.1:8400", raise_server_exceptions=False)

    yield opened


@pytest.fixture
def client(client_of: Client) -> TestClient:
    return client_of()


def vector(seed: int = 0) -> list[float]:
    found: list[float] = normalize(torch.randn(24, generator=torch.Generator().manual_seed(seed)), dim=-1).tolist()
    return found


def encoded(format: str, size: tuple[int, int] = (8, 8)) -> bytes:
    file = BytesIO()
    Image.new("RGB", size, "red").save(file, format)
    return file.getvalue()


def sent(content: bytes, mime: str = "png") -> str:
    return f"data:image/{mime};base64,{base64.b64encode(content).decode()}"


def test_a_question_about_a_picture_is_answered_from_the_train_split(
    client: TestClient, of_a_cell: CellSelector, train: list[Shot]
) -> None:
    query = {"question": QUESTION, "image": data_url(train[3].image)}
    body = {"query": query, "shots": 3, "without": [3], "messages": True}
    answer = client.post("/select", json=body)
    assert answer.status_code == 200, answer.text
    rows = of_a_cell.library.select(train[3], 3, without=[3])
    found = answer.json()
    assert found["selector"] == "v2 (singles)"
    assert [(one["row"], one["answer"]) for one in found["demonstrations"]] == [
        (row, train[row].answer) for row in rows
    ]
    pictures = [
        part["image_url"]["url"] for part in found["messages"][0]["content"] if part["type"] == "image_url"
    ]
    assert pictures == [data_url(train[row].image) for row in (*rows, 3)]


def test_vectors_and_pictures_give_the_same(
    client: TestClient, of_a_cell: CellSelector, train: list[Shot]
) -> None:
    seen = of_a_cell.library.selector.embed(train)
    plain = base64.b64encode(train[0].image.read_bytes()).decode()
    answers = [
        client.post("/select", json={"query": query, "candidates": candidates, "shots": 2}).json()
        for query, candidates in (
            (
                {"question": QUESTION, "image": plain},
                [{"question": QUESTION, "image": data_url(one.image), "answer": one.answer} for one in train[1:]],
            ),
            (
                {"vector": seen[0].tolist()},
                [
                    {"vector": one.tolist(), "answer": shot.answer}
                    for one, shot in zip(seen[1:], train[1:], strict=True)
                ],
            ),
        )
    ]
    expected = of_a_cell.library.selector.select(seen[0], seen[1:], 2)
    for answer in answers:
        assert [one["row"] for one in answer["demonstrations"]] == list(expected)
        assert [one["answer"] for one in answer["demonstrations"]] == [train[1 + row].answer for row in expected]


def test_it_says_what_it_is_and_fetches_nothing(client: TestClient) -> None:
    assert client.get("/health").json() == {
        "status": "ok",
        "cell": "demo|RandSampler/tiny_vl",
        "selector": "v2 (singles)",
        "rows": 12,
        "dim": 24,
    }
    schema = client.get("/openapi.json").json()
    assert set(schema["paths"]) == {"/health", "/select"}
    for name in ("Asked", "Candidate", "Answer", "Chosen", "Health"):
        assert all(
            "description" in field for field in schema["components"]["schemas"][name]["properties"].values()
        )
    assert client.get("/docs").status_code == client.get("/redoc").status_code == 404


BOMB = sent(encoded("PNG", (12_000, 9_000)))
SOUND = {"question": "what?", "image": sent(encoded("PNG"))}
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({}, "query: field required."),
        ({"query": {"question": "what?"}}, "query: give either an image or a vector."),
        ({"query": {"image": "aa", "vector": [1.0]}}, "query: give either an image or a vector."),
        ({"query": SOUND | {"path": "/etc/passwd"}}, "query.path: extra inputs are not permitted."),
        ({"query": SOUND, "shots": 10**9}, "shots: input should be less than or equal to 64."),
        ({"query": SOUND, "shots": 0}, "shots: input should be greater than or equal to 1."),
        ({"query": SOUND, "shots": 13}, "13 demonstrations cannot be chosen from 12 rows"),
        ({"query": SOUND, "without": [99]}, "row 99 is none of the library's 12 rows"),
        ({"query": SOUND, "without": [-1]}, "without.0: input should be greater than or equal to 0."),
        ({"query": SOUND, "candidates": []}, "candidates: list should have at least 1 item"),
        (
            {"query": SOUND, "candidates": [SOUND], "shots": 2},
            "2 demonstrations cannot be chosen from 1 candidates",
        ),
        ({"query": SOUND, "candidates": [SOUND], "without": [0]}, "without names rows of the train split"),
        ({"query": SOUND, "candidates": [SOUND] * 1025}, "candidates: list should have at most 1024 items"),
        ({"query": {"vector": [1.0] * 23}}, "query.vector has 23 numbers; give 24."),
        ({"query": {"vector": [1e39] * 24}}, "the vectors of the query hold what is no finite number"),
        ({"query": {"vector": ["a"] * 24}}, "query.vector.0: input should be a valid number"),
        ({"query": {"vector": vector()}, "messages": True}, "query was given without a picture"),
        ({"query": {"question": "a" * 10_001, "vector": vector()}}, "query.question: string should have at most"),
        ({"query": {"image": "/etc/hostess"}}, "query is no PNG, JPEG or WebP picture"),
        ({"query": {"image": "../../etc/passwd"}}, "query is neither base64 nor a data URL"),
        ({"query": {"image": "https://example.com/cat.png"}}, "query is neither base64 nor a data URL"),
        ({"query": {"image": "file:///etc/passwd"}}, "query is neither base64 nor a data URL"),
        ({"query": {"image": ""}}, "query is no PNG, JPEG or WebP picture"),
        ({"query": {"image": sent(encoded("GIF"), "gif")}}, "query is neither base64 nor a data URL"),
        ({"query": {"image": sent(encoded("GIF"))}}, "query is no PNG, JPEG or WebP picture"),
        ({"query": {"image": sent(encoded("EPS"))}}, "query is no PNG, JPEG or WebP picture"),
        ({"query": {"image": sent(encoded("TIFF"), "jpeg")}}, "query is no PNG, JPEG or WebP picture"),
        ({"query": {"image": sent(SVG)}}, "query is no PNG, JPEG or WebP picture"),
        ({"query": {"image": sent(encoded("PNG")[:-30])}}, "image query cannot be read ("),
        ({"query": {"image": BOMB}}, "query: the pictures have more than 100 megapixels together"),
        (
            {"query": SOUND, "candidates": [SOUND, {"image": sent(encoded("JPEG", (99, 99))[:700], "jpeg")}]},
            "image candidates.1 cannot be read (",
        ),
        ({"query": {"question": "\ud800", "image": SOUND["image"]}}, "query.question: "),
    ],
)
def test_what_cannot_be_answered_is_one_sentence(client: TestClient, body: Any, sentence: str) -> None:
    answer = client.post("/select", content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert answer.status_code == 422, answer.text
    (detail,) = answer.json().values()
    assert detail.startswith(sentence) and detail.endswith(".") and "\n" not in detail and "/tmp" not in detail


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400"])
def test_what_is_no_finite_number_is_refused(client: TestClient, number: str) -> None:
    body = f'{{"query": {{"vector": [{", ".join([number] * 24)}]}}}}'
    answer = client.post("/select", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["detail"]) == (
        422,
        "query.vector.0: input should be a finite number.",
    )


@pytest.mark.parametrize(
    "body", ["[" * 100_000, '{"a":' * 100_000, "{", "\xff", "null", "[]", '{"shots": 1' + "0" * 9999]
)
def test_what_is_no_body_is_refused(client: TestClient, body: str) -> None:
    answer = client.post("/select", content=body.encode("latin-1"), headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422) and isinstance(answer.json()["detail"], str)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None])
def test_a_body_that_does_not_say_json_is_refused(client: TestClient, kind: str | None) -> None:
    body = json.dumps({"query": {"vector": vector()}}).encode()
    answer = client.post("/select", content=body, headers={} if kind is None else {"Content-Type": kind})
    assert answer.status_code == 422


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_that_is_too_big_is_not_kept(
    client: TestClient, announced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_port, "BODY", 2**20)
    taken = 0

    def pieces() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(64):
            taken += 1
            yield b" " * 2**16

    body: Any = b" " * 2**22 if announced else pieces()
    answer = client.post("/select", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413 and answer.json()["detail"].startswith("the body is larger than 1 MiB")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "attacker.example"}, 400),
        ({"Host": "127.0.0.1.attacker.example"}, 400),
        ({"Host": "[::1]:8400"}, 200),
        ({"Origin": "https://attacker.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://["}, 403),
        ({"Origin": "http://127.0.0.1:3000"}, 403),
        ({"Origin": "http://127.0.0.1:8400"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
    ],
)
def test_a_foreign_page_is_not_answered(client: TestClient, headers: dict[str, str], status: int) -> None:
    assert client.post("/select", json={"query": {"vector": vector()}}, headers=headers).status_code == status
    assert client.get("/health", headers=headers).status_code == status


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ("Bearer secret", 200),
        (None, 401),
        ("Bearer", 401),
        ("Bearer secreT", 401),
        ("secret", 401),
        ("Bearer ß", 401),
    ],
)
def test_a_token_must_be_known(client_of: Client, given: str | None, status: int) -> None:
    headers = {} if given is None else {"Authorization": given.encode()}
    for path in ("/health", "/openapi.json"):
        answer = client_of(("*",), token="secret").get(path, headers=headers)  # type: ignore[arg-type]
        assert answer.status_code == status
    assert status == 200 or answer.headers["WWW-Authenticate"] == "Bearer"


def test_pictures_leave_nothing_behind(
    client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(sent_picture, "PIXELS", 100)
    for image, status in ((encoded("PNG"), 200), (encoded("WEBP"), 200), (encoded("PNG")[:-30], 422)):
        answer = client.post("/select", json={"query": {"question": "what?", "image": sent(image)}})
        assert answer.status_code == status
        assert list(tmp_path.iterdir()) == []
    two = {"query": SOUND, "candidates": [SOUND], "shots": 1}
    assert "candidates.0: the pictures have more than" in client.post("/select", json=two).json()["detail"]
