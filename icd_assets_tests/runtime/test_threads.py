"""The same bytes whatever the number of threads, and the caller's number afterwards."""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from icd_assets.runtime.threads import one_thread, shared_out
from icd_assets.selector.config import GrpoConfig, ProposalConfig, RceConfig, SelectorConfig, SftConfig
from icd_assets.selector.encoder import ClipEncoder
from icd_assets.selector.grpo import train_grpo
from icd_assets.selector.model import PointerSelectorV2, new_policy
from icd_assets.selector.rce import train_rce
from icd_assets.selector.sft import train_sft
from icd_assets.vlm.backend import Generation
from icd_assets.vlm.prompts import Prompt, PromptStyle, Shot
from icd_assets.vlm.transformers_backend import TransformersBackend
from icd_assets_tests.worlds.known_answers import World
from icd_assets_tests.worlds.plain_proposals import proposed
from icd_assets_tests.worlds.tiny import tiny_clip, tiny_vl, write_images

COUNTS = (1, 2, 4)


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def world() -> World:
    return World(48, pool=64, width=512)  # as wide as CLIP ViT-B/32: large enough for torch to share the work


@pytest.fixture(scope="module")
def policy() -> PointerSelectorV2:
    return new_policy(SelectorConfig(embedding_dim=512, hidden_dim=256), 0)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_images(tmp_path_factory.mktemp("pictures"), 21)


def at_each_count(work: Callable[[], Any]) -> list[str]:
    """The digest of what ``work`` returns, for 1, 2 and 4 threads."""
    found = []
    for threads in COUNTS:
        torch.set_num_threads(threads)
        found.append(digest(work()))
        assert torch.get_num_threads() == threads
    return found


def digest(value: Any) -> str:
    if isinstance(value, nn.Module):
        value = list(value.state_dict().values())
    if isinstance(value, torch.Tensor):
        return hashlib.sha256(value.numpy().tobytes()).hexdigest()
    if isinstance(value, list | tuple):
        return digest_text("".join(digest(part) for part in value))
    return digest_text(repr(value))


def digest_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_this_machine_shows_a_difference_without_care() -> None:
    """Otherwise the tests below would show nothing."""
    rng = torch.Generator().manual_seed(0)
    values = torch.randn(1 << 20, generator=rng)
    assert len(set(at_each_count(lambda: values.sum()))) > 1


def test_sft(world: World) -> None:
    config = SftConfig(epochs=1, hidden_dim=256, batch_size=16)
    groups = world.beams(range(48))

    def trained() -> Any:
        found = train_sft(groups, config)
        return found.policy, found.history

    assert len(set(at_each_count(trained))) == 1


def test_proposals(world: World, policy: PointerSelectorV2) -> None:
    rows = list(range(12))

    def found() -> Any:
        return proposed(policy, rows, world.queries[rows], world.pools[rows], ProposalConfig())

    assert len(set(at_each_count(found))) == 1


def test_rce_and_grpo(world: World, policy: PointerSelectorV2) -> None:
    groups = world.proposals(policy, range(24))

    def trained() -> Any:
        rce = copy.deepcopy(policy)
        first = train_rce(rce, groups, RceConfig(rce_epochs=1, batch_size=8), sft=policy)
        grpo = copy.deepcopy(rce)
        second = train_grpo(grpo, groups, GrpoConfig(grpo_epochs=1, batch_size=8), sft=policy, rce=rce)
        return rce, grpo, first, second

    assert len(set(at_each_count(trained))) == 1


def test_embeddings(pictures: list[Path]) -> None:
    """Batches of eight and a rest of five, side by side."""
    encoder = ClipEncoder.load(str(tiny_clip()))
    questions = [f"what is {number}?" for number in range(21)]

    def encoded() -> Any:
        return encoder.image_features(pictures, batch_size=8), encoder.text_features(questions, batch_size=8)

    assert len(set(at_each_count(encoded))) == 1


def test_answers_of_a_small_model(pictures: list[Path]) -> None:
    prompts = [Prompt((Shot(one, "which?", "dog"),), two, "what?") for one, two in pairwise(pictures)]

    def asked() -> Any:
        backend = TransformersBackend.load(
            str(tiny_vl()),
            digest="",
            style=PromptStyle(),
            generation=Generation(),
            batch_size=3,
        )
        likelihoods = backend.answer_likelihoods(prompts[:5], ["a dog"] * 5)
        return [found.logprob for found in likelihoods], backend.generate(prompts[:5])

    assert len(set(at_each_count(asked))) == 1


def test_the_number_is_the_callers_again() -> None:
    torch.set_num_threads(3)
    with one_thread():
        assert torch.get_num_threads() == 1
        with one_thread("cpu"):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3
    with pytest.raises(KeyboardInterrupt), one_thread(torch.device("cpu")):
        raise KeyboardInterrupt
    assert torch.get_num_threads() == 3


def test_a_listener_that_fails_leaves_the_number(pictures: list[Path]) -> None:
    encoder = ClipEncoder.load(str(tiny_clip()))

    def fail(done: int, total: int) -> None:
        raise RuntimeError("stop")

    torch.set_num_threads(2)
    with pytest.raises(RuntimeError, match="stop") as held:
        encoder.image_features(pictures, batch_size=4, on_progress=fail)
    assert torch.get_num_threads() == 2, held


def test_with_a_gpu_nothing_changes() -> None:
    torch.set_num_threads(2)
    with one_thread("cuda:0"):
        assert torch.get_num_threads() == 2


@pytest.mark.parametrize("count", COUNTS)
def test_shared_out_keeps_the_order_and_one_thread_for_each(count: int) -> None:
    torch.set_num_threads(count)

    def work(item: int) -> tuple[int, int]:
        time.sleep(0.01 * (item % 3))  # the later ones are ready first
        return item, torch.get_num_threads()

    assert list(shared_out(work, range(12))) == [(item, 1) for item in range(12)]
    assert torch.get_num_threads() == count


def test_what_fails_ends_the_work_where_it_stands() -> None:
    torch.set_num_threads(2)
    begun: list[int] = []

    def work(item: int) -> int:
        begun.append(item)
        if item == 1:
            raise ValueError("the second")
        return item

    found = []
    with pytest.raises(ValueError, match="the second"):
        for result in shared_out(work, range(100)):
            found.append(result)
    assert found == [0] and len(begun) < 10
    assert torch.get_num_threads() == 2
