"""benchmarks/gpu.py: its count of operations, and the whole of it on a small model, also beside a server."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForImageTextToText, DynamicCache

from icd_assets.demo.pieces import qwen_tokenizer
from icd_assets_tests.worlds.fake_server import Answered, FakeServer, Json, as_json

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def run(*options: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": str(BENCHMARKS.parent),
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.slow
def test_without_a_gpu_it_says_so() -> None:
    ended = run()
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.count("\n") == 1
    assert "torch has no GPU here: run this on a machine with one" in ended.stderr


class Server:
    """As vLLM's: a token is a byte of a text, or a picture."""

    def __init__(self) -> None:
        self.beams: list[int] = []
        self.scored = 0

    def __call__(self, body: Json, number: int) -> Answered:
        content = [part for message in body["messages"] for part in message["content"]]
        texts = "".join(part if isinstance(part, str) else part.get("text", "#") for part in content)
        ids = [*texts.encode()]
        more: Json = {"prompt_token_ids": ids} if body.get("return_token_ids") else {}
        if "prompt_logprobs" in body:
            self.scored += 1
            more["prompt_logprobs"] = [None, *({str(token): {"logprob": -1.0}} for token in ids[1:])]
        elif not more:
            self.beams.append(body.get("n", 1))
        choice = {"message": {"role": "assistant", "content": "hum"}, "finish_reason": "length"}
        return as_json({"choices": [choice], **more})


@pytest.mark.slow
def test_the_whole_of_it_on_a_small_model() -> None:
    server = Server()
    with FakeServer(server) as there:
        ended = run(
            *("--device", "cpu", "--small", "--queries", "1", "--pointers", "2", "--pool", "5", "--alone", "3"),
            *("--endpoint", there.endpoint().url, "--model", "m"),
        )
    assert ended.returncode == 0, ended.stderr
    rows = [line.split(" | ") for line in ended.stdout.splitlines() if line.startswith("| ")]
    header, _, *ours = [row for row in rows if len(row) == 12]
    assert [cell.strip() for cell in header][2:6] == ["TFLOP", "seconds", "TFLOP/s", "of the peak"]
    assert [row[1].strip() for row in ours] == ["8", "26", "5"]  # questions
    assert all(0 < float(row[2]) < float(row[10]) for row in ours)  # operations, ours and one at a time
    assert "batches of at most 8 prompts" in ended.stdout
    assert "Log-likelihoods differ" in ended.stdout
    # The same questions, each in a request of its own; pointers and evaluation are answered by beams.
    assert server.beams == [3] * (2 + 5)
    assert server.scored == 2 * 3 + 26
    served = [row for row in rows if len(row) == 3]
    assert len(served) == 2 + 3


@pytest.fixture
def arithmetic(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("pointer_arithmetic")


def test_what_is_counted_is_what_a_pass_does(arithmetic: ModuleType) -> None:
    shape = arithmetic.config(qwen_tokenizer(), tiny=True)
    shape._attn_implementation = "eager"  # whose products the counter sees on a CPU
    model = AutoModelForImageTextToText.from_config(shape, dtype=torch.bfloat16).eval()
    rows, fed, before, logits = 2, 7, 5, 3
    kept = torch.zeros(rows, shape.text_config.num_key_value_heads, before, 128, dtype=torch.bfloat16)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(
            input_ids=torch.zeros(rows, fed, dtype=torch.long),
            position_ids=torch.zeros(3, rows, fed, dtype=torch.long),
            past_key_values=DynamicCache([(kept, kept)] * shape.text_config.num_hidden_layers),
            logits_to_keep=logits,
        )
    found = arithmetic.decoder_flops(rows, fed, before, logits, tiny=True)
    by_hand = 2 * rows * fed * (
        3 * (2 * 256 * 256 + 2 * 256 * 256 + 3 * 256 * 512) + 151_936 * 256 * logits / fed
    ) + 3 * 4 * rows * 256 * fed * (fed + before)
    assert found == counter.get_total_flops()
    assert found == pytest.approx(by_hand)
    assert arithmetic.decoder_flops(rows, fed, before, logits) > 100 * found
