"""Collections are maps over chunks: their size decides nothing, and what a chunk's function takes can travel."""

from __future__ import annotations

import pickle
from functools import partial

import pytest
import torch

from icd_assets.scoring.chunks import map_chunks
from icd_assets.scoring.collect_beams import beams_of_chunk, collect_beams
from icd_assets.scoring.collect_rl_data import collect_rl_data, rl_data_of_chunk
from icd_assets.scoring.infoscore import BeamConfig
from icd_assets.selector.config import ProposalConfig, SelectorConfig
from icd_assets.selector.model import new_policy
from icd_assets.selector.projected import ProjectedLibrary
from icd_assets.tasks.vqa.metric import VqaAccuracy
from icd_assets_tests.worlds.copying_backend import CopyingBackend
from icd_assets_tests.worlds.vqa_files import item

LIBRARY = [item(row, answer=["cat", "dog", "bird"][row % 3]) for row in range(24)]
POOLS = {row: tuple((row + step) % 24 for step in (1, 3, 4, 6, 8, 11)) for row in (20, 3, 11, 7, 0)}
BEAMS = BeamConfig(beam_size=2, shots=2)
PROPOSALS = ProposalConfig(num_beams=2, num_retrieval=2, samples_per_temp=2, num_random=2)
POLICY = new_policy(SelectorConfig(embedding_dim=8, hidden_dim=8), 0).eval()
EMBEDDINGS = torch.nn.functional.normalize(torch.randn(24, 8, generator=torch.Generator().manual_seed(0)), dim=-1)


def beams(chunk: int, on_progress=lambda done, total: None):
    queries = [LIBRARY[row] for row in POOLS]
    return collect_beams(queries, POOLS, LIBRARY, CopyingBackend(), BEAMS, chunk=chunk, on_progress=on_progress)


def rl_data(chunk: int, on_progress=lambda done, total: None):
    given = (POLICY, POOLS, LIBRARY, EMBEDDINGS, CopyingBackend(), VqaAccuracy(), PROPOSALS)
    return collect_rl_data(*given, gt_prob=True, chunk=chunk, on_progress=on_progress)


@pytest.mark.parametrize("chunk", [1, 2, 4])
def test_the_size_of_chunks_decides_nothing(chunk):
    assert list(beams(chunk).items()) == list(beams(64).items())
    assert list(beams(chunk)) == list(POOLS)
    assert rl_data(chunk) == rl_data(64)
    assert [query.row for query in rl_data(chunk)] == sorted(POOLS)


def test_progress_counts_queries_after_each_chunk():
    for collect in (beams, rl_data):
        seen = []
        collect(2, lambda done, total, seen=seen: seen.append((done, total)))
        assert seen == [(2, 5), (4, 5), (5, 5)]


def test_chunks_may_be_taken_in_any_order_by_others():
    """What an engine does: it sends the function and a chunk elsewhere, and sorts what comes back."""
    given = {"pools": POOLS, "library": LIBRARY, "backend": CopyingBackend()}
    of_beams = pickle.loads(pickle.dumps(partial(beams_of_chunk, **given, config=BEAMS)))  # noqa: S301
    found = {one.row: one for row in sorted(POOLS) for one in of_beams([LIBRARY[row]])}
    assert found == beams(64)
    of_policy = {"projected": ProjectedLibrary(POLICY, EMBEDDINGS), "metric": VqaAccuracy(), "config": PROPOSALS}
    of_rl_data = pickle.loads(pickle.dumps(partial(rl_data_of_chunk, **given, **of_policy, gt_prob=True)))  # noqa: S301
    queries = [query for row in sorted(POOLS, reverse=True) for query in of_rl_data([row])]
    assert queries[::-1] == rl_data(64)


def test_nothing_to_do_and_no_chunk():
    assert map_chunks(lambda chunk: chunk, [], 3) == []
    with pytest.raises(ValueError, match="chunk size 0"):
        map_chunks(lambda chunk: chunk, [1], 0)
