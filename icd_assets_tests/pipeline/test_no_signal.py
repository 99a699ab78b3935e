"""A server whose model says one thing to everything: the run ends with the numbers, and so does the next one."""

from __future__ import annotations

import pytest
import yaml

from icd_assets.selector.config import SelectorConfig
from icd_assets.selector.model import new_policy
from icd_assets.selector.v2_file import V2Checkpoint, write_v2
from icd_assets_tests.worlds.fake_server import FakeServer, as_json, said
from icd_assets_tests.worlds.workplace import Workplace

CELL = ("vqa", "demo", "0", "query_img_text_icd_img_text", "rand_sampler", "served")


@pytest.fixture
def place(workplace: Workplace) -> Workplace:
    """With a v2 checkpoint of the user's, so that no likelihood is asked for."""
    policy = new_policy(SelectorConfig(embedding_dim=64, hidden_dim=32), seed=1)
    write_v2(workplace.folder / "mine.ckpt", V2Checkpoint(policy.state_dict(), {}, 0, {}), hyper_parameters={})
    return workplace


def with_server(place: Workplace, server: FakeServer) -> dict[str, str]:
    path = place.folder / "catalog.yaml"
    catalog = yaml.safe_load(path.read_text(encoding="utf-8"))
    endpoint = {"url": server.endpoint().url, "model": "m", "server": "openai", "retries": 0}
    catalog.setdefault("models", {})["served"] = {
        "aliases": ["served"],
        "endpoint": endpoint,
        "generation": {"max_new_tokens": 5, "num_beams": 1, "min_new_tokens": 0},
    }
    path.write_text(yaml.safe_dump(catalog), encoding="utf-8")
    names = ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
    return {"LEVER_LM_CHECKPOINT_PATH": str(place.folder / "mine.ckpt"), **dict.fromkeys(names, "")}


def test_the_reason_is_printed_and_not_forgotten(place: Workplace) -> None:
    with FakeServer(lambda body, number: said("gravel"), models=as_json({"data": [{"id": "m"}]})) as server:
        variables = with_server(place, server)
        first = place.run("train", *CELL, "--to", "rce_checkpoints", **variables)
        asked = len(server.bodies)
        second = place.run("train", *CELL, "--to", "rce_checkpoints", **variables)
        assert len(server.bodies) == asked > 0, first.stderr
    for ended in (first, second):
        assert ended.returncode == 2, ended.stderr
        (line,) = [line for line in ended.stderr.splitlines() if line.startswith("icd-assets:")]
        assert "rl_data is made, but nothing can be built on it: no pointer of" in line
        assert "in 24 queries was ever right; the model answered 'gravel'" in line
        assert "doctor --smoke" in line
        assert "Traceback" not in ended.stderr
    assert "rl_data: made in" in first.stdout
    assert "[1/" not in second.stdout  # stopped before its first step
    assert not list(place.results.rglob("rce_epoch*.pt"))
