"""Which report an address shows, that it is made once, and what an address cannot reach."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from icd_assets.defs.webserver import reports
from icd_assets.defs.webserver.addresses import report_address
from icd_assets.defs.webserver.reports import report_route
from icd_assets.experiment.experiment import Experiment
from icd_assets.report import cell_report
from icd_assets_tests.worlds.commands import run, world
from icd_assets_tests.worlds.evaluated import evaluated_cell
from icd_assets_tests.worlds.manifests import World

__all__ = ["run", "world"]

PLAIN, NAMED = "v3_RandSampler_m0", "v3_RandSampler_m0_kl012"
POLICY = "default-src 'none'; script-src 'sha256-abc='"
HEAD = f'<meta http-equiv="Content-Security-Policy" content="{POLICY.replace(chr(39), "&#39;")}">'


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folder of each report that was made; a page is its name."""
    made: list[str] = []

    def render(experiment: Experiment) -> str:
        made.append(experiment.paths.evaluation.name)
        return f"{HEAD}{made[-1]}"

    monkeypatch.setattr(cell_report, "render", render)
    reports._page.cache_clear()
    return made


@pytest.fixture
def client() -> TestClient:
    return TestClient(Starlette(routes=[report_route()]), base_url="http://127.0.0.1:3000")


def test_an_experiment_is_named_by_its_folder(world: World, client: TestClient, rendered: list[str]) -> None:
    for name in ("", "kl012"):
        evaluated_cell(world, RUN_NAME=name)
    for folder in (PLAIN, NAMED):
        answer = client.get("/cells/d0/RandSampler/m0/report", params={"folder": folder})
        assert (answer.status_code, answer.text) == (200, f"{HEAD}{folder}")
    experiment = world.experiment(RECIPE="sequences", RUN_NAME="kl012")
    assert report_address(experiment) == f"/cells/d0/RandSampler/m0/report?folder={NAMED}"


def test_a_page_is_made_once_until_its_evaluation_is_another(
    world: World, client: TestClient, rendered: list[str]
) -> None:
    experiment = world.cell()
    address = report_address(experiment)
    assert client.get(address).text == client.get("/cells/d0/RandSampler/m0/report").text
    assert rendered == [PLAIN]
    world.make(experiment, "evaluation", made="00:01", note="another answer")
    client.get(address)
    assert rendered == [PLAIN, PLAIN]


def test_the_pages_own_policy_is_the_headers_and_no_frame_holds_it(
    world: World, client: TestClient, rendered: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    address = report_address(evaluated_cell(world))
    headers = client.get(address).headers
    assert headers["Content-Security-Policy"] == f"{POLICY}; frame-ancestors 'none'"
    assert (headers["X-Content-Type-Options"], headers["Cache-Control"]) == ("nosniff", "no-store")
    reports._page.cache_clear()
    monkeypatch.setattr(cell_report, "render", lambda experiment: "no policy")
    assert client.get(address).headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"


@pytest.mark.parametrize(
    ("path", "folder"),
    [
        ("d0/RandSampler/m1", None),
        ("d0/MixSampler/m0", None),
        ("d0|RandSampler/m0/x", None),
        ("nothing/RandSampler/m0", None),
        ("../RandSampler/m0", None),
        ("d0/RandSampler/..", None),
        ("d0/*/m0", None),
        ("d0/Rand\x00Sampler/m0", None),
        ("d0/RandSampler/" + "m" * 9999, None),
        ("d0/RandSampler/<script>alert(1)<", None),
        ("d0/RandSampler/m0", "v3_RandSampler_m0/../v3_RandSampler_m0"),
        ("d0/RandSampler/m0", "../../model_cpk/v3_RandSampler_m0"),
        ("d0/RandSampler/m0", "/etc"),
        ("d0/RandSampler/m0", "v3_RandSampler_*"),
        ("d0/RandSampler/m0", "\x00"),
        ("d0/RandSampler/m0", ""),
        ("d0/RandSampler/m0", "f" * 9999),
    ],
)
def test_what_is_no_evaluated_cell_is_one_sentence(
    world: World, client: TestClient, rendered: list[str], path: str, folder: str | None
) -> None:
    evaluated_cell(world)
    parts = "/".join(quote(part, safe="").replace("..", "%2E%2E") for part in path.split("/", 2))
    answer = client.get(f"/cells/{parts}/report", params={} if folder is None else {"folder": folder})
    assert answer.status_code == 404 and rendered == []
    if answer.text != "Not Found":  # of a path that is none of ours
        assert re.fullmatch(r"[^\n]+[^.]\.\n", answer.text) and len(answer.text) < 400
        assert answer.headers["content-type"].startswith("text/plain")


def test_a_truncated_manifest_is_one_sentence(world: World, client: TestClient, rendered: list[str]) -> None:
    experiment = evaluated_cell(world)
    path = experiment.manifest_path("evaluation")
    path.write_bytes(path.read_bytes()[:100])
    answer = client.get(report_address(experiment))
    assert answer.status_code == 404 and answer.text.count("\n") == 1 and str(path) in answer.text


def test_a_folder_of_another_cell_is_not_taken_for_this_ones(
    world: World, client: TestClient, rendered: list[str]
) -> None:
    """A model's name may begin as another's."""
    path = world.cell().manifest_path("evaluation")
    path.write_text(path.read_text(encoding="utf-8").replace('"d0|RandSampler/m0"', '"d0|RandSampler/m0_kl012"'))
    path.parent.rename(path.parent.with_name(NAMED))
    for folder in (None, NAMED):
        params = {} if folder is None else {"folder": folder}
        assert client.get("/cells/d0/RandSampler/m0/report", params=params).status_code == 404
