"""What was scored as groups to train on: positions in the query's pool, embeddings by row."""

from __future__ import annotations

import torch

from icd_assets.scoring.groups import groups_of_beams
from icd_assets.scoring.infoscore import Beam, QueryBeams

EMBEDDINGS = torch.arange(12.0).reshape(6, 2)
POOLS = {4: (3, 0, 5), 1: (2, 5, 0)}


def test_beams_become_positions_in_their_pool_by_ascending_row():
    beams = {
        4: QueryBeams(4, (Beam((5, 3), 0.5), Beam((0, 5), 0.25))),
        1: QueryBeams(1, (Beam((0, 2), 0.125),)),
    }
    first, second = groups_of_beams(beams, POOLS, dict(enumerate(EMBEDDINGS)))
    assert (first.query_row, second.query_row) == (1, 4)
    assert second.query.tolist() == [8, 9]
    assert second.table[second.pool].tolist() == EMBEDDINGS[[3, 0, 5]].tolist()
    assert second.pointers.tolist() == [[2, 0], [1, 2]]
    assert second.rewards.tolist() == [0.5, 0.25]
    assert (first.pointers.tolist(), first.behavior_logprobs) == ([[2, 0]], None)
