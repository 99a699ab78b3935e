"""A model behind `transformers serve`, as a user has one: a real server on loopback, a real train command."""

from __future__ import annotations

import functools
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

import pytest
import yaml

from icd_assets.demo.world import ANSWERS
from icd_assets.errors import UserError
from icd_assets.experiment.cell import Cell
from icd_assets.experiment.checks.possible import require_possible
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.plan import Plan
from icd_assets.experiment.settings import read_settings
from icd_assets.experiment.spec import spec_of
from icd_assets.experiment.steps import STEP
from icd_assets.selector.config import SelectorConfig
from icd_assets.selector.model import new_policy
from icd_assets.selector.v2_file import V2Checkpoint, write_v2
from icd_assets.vlm.backend import Generation
from icd_assets.vlm.endpoint import Endpoint
from icd_assets.vlm.endpoint_backend import EndpointBackend
from icd_assets.vlm.prompts import Prompt, PromptStyle, Shot
from icd_assets.vlm.transformers_backend import TransformersBackend
from icd_assets_tests.worlds.tiny import root, vocab_size, write_images
from icd_assets_tests.worlds.tiny_idefics3 import tiny_idefics3
from icd_assets_tests.worlds.workplace import CELL, Workplace, new_workplace

KEY = "sk-the-secret-9f2c"
START_SECONDS = 120.0
WORDS = [word for kind in ("sound", "food", "home") for word in ANSWERS[kind]]


@functools.cache
def tiny_guesser() -> Path:
    """A tiny model whose answers in the demo are words of the demo, and now and then right.

    Idefics3 is the family whose processor `transformers serve` loads without torchvision.
    """
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    folder = root() / "tiny_guesser"
    processor = AutoProcessor.from_pretrained(tiny_idefics3())
    processor.tokenizer.add_tokens(WORDS)
    processor.save_pretrained(folder)
    model = AutoModelForImageTextToText.from_pretrained(tiny_idefics3())
    model.resize_token_embeddings(vocab_size(processor.tokenizer), mean_resizing=False)
    ids = processor.tokenizer.convert_tokens_to_ids(WORDS)
    with torch.no_grad():
        rows = torch.randn(len(ids), model.lm_head.in_features, generator=torch.Generator().manual_seed(0))
        model.lm_head.weight[ids] = rows
        model.model.text_model.embed_tokens.weight[ids] = rows
    model.save_pretrained(folder)
    return folder


@contextmanager
def transformers_serve(folder: Path, log: Path) -> Iterator[str]:
    """`transformers serve FOLDER`, the way its documentation starts it; yields the API's base."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = str(Path(sys.executable).with_name("transformers"))
    options = ["--device", "cpu", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("w") as out:
        server = subprocess.Popen(
            [program, "serve", str(folder), *options],
            stdout=out,
            stderr=subprocess.STDOUT,
            env=os.environ | {"HF_HUB_OFFLINE": "1"},
        )
    try:
        began = time.monotonic()
        while not _healthy(f"http://127.0.0.1:{port}/health"):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() - began < START_SECONDS, log.read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(30)


def _healthy(url: str) -> bool:
    try:
        with build_opener(ProxyHandler({})).open(url, timeout=2) as reply:
            return bool(reply.status == 200)
    except (URLError, OSError):
        return False


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with transformers_serve(tiny_guesser(), tmp_path_factory.mktemp("serve") / "log") as url:
        yield url


def _prompts(images: list[Path]) -> list[Prompt]:
    texts = ["what color is it?", "which shape is this?", "what sound does it make?"]
    shots = [
        tuple(Shot(images[n + k], texts[k], ["dog", "red", "buzz"][k]) for k in range(n % 3)) for n in range(6)
    ]
    return [Prompt(shots[n], images[n], texts[n % 3]) for n in range(6)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "generation",
    [
        Generation(max_new_tokens=5, num_beams=1),
        Generation(max_new_tokens=5, num_beams=3),
        Generation(max_new_tokens=5, num_beams=2, min_new_tokens=4, length_penalty=1.0),
    ],
    ids=["greedy", "beams", "beams of some length"],
)
@pytest.mark.parametrize("layout", ["interleaved", "turns"])
def test_a_server_answers_what_the_model_here_answers(
    layout: Any, generation: Generation, served: str, tmp_path: Path
) -> None:
    """The model's own generation_config samples and penalizes: a server that heard it would answer otherwise."""
    style, folder = PromptStyle(layout=layout), str(tiny_guesser())
    asked = _prompts(write_images(tmp_path, 9))
    endpoint = Endpoint(url=served, model=folder, server="transformers", concurrency=4)
    found = EndpointBackend(endpoint, style=style, generation=generation).generate(asked)
    here = TransformersBackend.load(folder, digest="", style=style, generation=generation)
    assert found == here.generate(asked)
    assert len(set(found)) > 2


@pytest.mark.slow
def test_a_wrong_name_is_told_in_the_servers_words(served: str, tmp_path: Path) -> None:
    endpoint = Endpoint(url=served, model="another", server="transformers")
    asked = EndpointBackend(endpoint, style=PromptStyle(), generation=Generation(num_beams=1))
    with pytest.raises(UserError, match=r"\(model another\) answered 400 \(Server is pinned to '.*tiny_guesser"):
        asked.generate(_prompts(write_images(tmp_path, 9))[:1])


def place_of(folder: Path, url: str) -> tuple[Workplace, Path]:
    """The demo with six anchors, the model served and the same model here, and the user's own v2 checkpoint."""
    place = new_workplace(folder)
    path = folder / "catalog.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["datasets"]["demo"]["sample_num"] = 6
    weights = str(tiny_guesser())
    endpoint = {"url": url, "model": weights, "server": "transformers", "api_key_env": "VLM_KEY", "retries": 1}
    decoding = {"aliases": [], "generation": {"max_new_tokens": 1, "num_beams": 2}}
    content["models"] = {
        "served": {**decoding, "endpoint": endpoint},
        "here": {**decoding, "path": weights, "dtype": "float32"},
    }
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    v2 = folder / "mine.ckpt"
    shape = SelectorConfig(embedding_dim=64, hidden_dim=64)
    write_v2(v2, V2Checkpoint(new_policy(shape, 0).state_dict()))
    return place, v2


def answers(place: Workplace, model: str) -> list[tuple[Any, ...]]:
    path = place.results / f"demo/generated_data/rl_data_RandSampler_{model}.json"
    queries = {k: q for k, q in json.loads(path.read_text(encoding="utf-8")).items() if k != "_meta"}
    return [
        (key, candidate["pointer"], candidate["vqa_raw_generation"])
        for key, query in queries.items()
        for candidate in query["pointer_candidates"]
    ]


@pytest.mark.slow
def test_rl_data_of_a_served_model_from_one_command(
    served: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, v2 = place_of(tmp_path / "work", served)

    def train(model: str, *flags: str, **variables: str) -> subprocess.CompletedProcess[str]:
        own = {"LEVER_LM_CHECKPOINT_PATH": str(v2), **variables}
        return place.run("train", *CELL[:-1], model, "--to", "rl_data", *flags, **own)

    ended = train("served", VLM_KEY=KEY)
    assert ended.returncode == 0, ended.stderr + ended.stdout
    assert train("here").returncode == 0
    found = answers(place, "served")
    assert len(found) > 60
    assert {text for _, _, text in found} <= set(WORDS)
    assert found == answers(place, "here")
    manifest = place.results / "demo/generated_data/rl_data_RandSampler_served.json.manifest.json"
    written = json.loads(manifest.read_text(encoding="utf-8"))
    wanted = written["want"]
    assert written["environment"]["vlm_engine"] == "unknown"  # it does not say
    assert wanted["config"]["vlm"]["endpoint"]["model"] == str(tiny_guesser())
    assert served not in manifest.read_text(encoding="utf-8")
    without_key = _experiment(place, monkeypatch, LEVER_LM_CHECKPOINT_PATH=str(v2))
    assert [item.reason for item in Plan.of(without_key, to="rl_data").steps] == [None] * 4
    leaks = [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    assert leaks == []


def _experiment(place: Workplace, monkeypatch: pytest.MonkeyPatch, **variables: str) -> Experiment:
    monkeypatch.setenv("ICD_CATALOG", str(place.folder / "catalog.yaml"))
    monkeypatch.chdir(place.folder)
    settings = read_settings(environment={"RECIPE": "beams", **variables})
    return Experiment.open(Cell("demo", "RandSampler", "served"), settings, place.results)


def test_a_plan_needs_no_server_and_says_what_this_one_cannot_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, v2 = place_of(tmp_path / "work", "http://127.0.0.1:1/v1")
    own = {"LEVER_LM_CHECKPOINT_PATH": str(v2)}
    cell = _experiment(place, monkeypatch, **own)
    require_possible(Plan.of(cell, to="rl_data"))
    with pytest.raises(UserError, match=r"^evaluation scores answers, but http://127.* set oracle_beams to 0"):
        require_possible(Plan.of(cell))
    without = _experiment(place, monkeypatch)
    with pytest.raises(UserError, match=r"^beam_data scores answers, but .* import a v2 checkpoint"):
        require_possible(Plan.of(without, to="rl_data"))
    labels = _experiment(place, monkeypatch, RECIPE="singles")
    with pytest.raises(UserError, match=r"^single_labels scores answers.*--set single_labels\.label=accuracy"):
        require_possible(Plan.of(labels, to="single_labels"))
    gt = _experiment(place, monkeypatch, **own, REWARD_MODE="hard01_plus_gtprob")
    with pytest.raises(UserError, match=r"^rl_data scores answers"):
        require_possible(Plan.of(gt, to="rl_data"))


def test_the_same_model_at_another_url_is_the_same_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, _ = place_of(tmp_path / "work", "http://127.0.0.1:1/v1")
    first = _experiment(place, monkeypatch).vlm()
    path = place.folder / "catalog.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("127.0.0.1:1/", "gpu-7:8000/"), encoding="utf-8")
    assert _experiment(place, monkeypatch).vlm() == first
    path.write_text(path.read_text(encoding="utf-8").replace("retries: 1", "revision: abc"), encoding="utf-8")
    assert _experiment(place, monkeypatch).vlm() != first


def test_steps_that_ask_a_server_leave_the_gpu_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, _ = place_of(tmp_path / "work", "http://127.0.0.1:1/v1")
    cell = _experiment(place, monkeypatch)
    steps = (
        "candidate_pools",
        "beam_data",
        "v2_checkpoint",
        "embeddings",
        "rl_data",
        "rce_checkpoints",
        "evaluation",
    )
    here_alone = [name for name in steps if STEP[name].needs_gpu(cell)]
    assert here_alone == [
        "v2_checkpoint",
        "embeddings",
        "rce_checkpoints",
    ]
    here = Experiment.open(Cell("demo", "RandSampler", "here"), cell.settings, place.results)
    assert {"beam_data", "rl_data", "evaluation"} <= {name for name in steps if STEP[name].needs_gpu(here)}
    assert spec_of(cell, "candidate_pools").config["sample_num"] == 6
