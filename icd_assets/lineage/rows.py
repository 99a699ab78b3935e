"""The RL rows that a checkpoint was trained on: train row and ``question_id``."""

from __future__ import annotations

from dataclasses import dataclass

from icd_assets.errors import UserError
from icd_assets.lineage.chain import Artifact
from icd_assets.scoring.rl_file import read_rl_data
from icd_assets.store.store import Store

_TRAINED = ("rl_selector", "grpo_checkpoints", "rce_checkpoints")


@dataclass(frozen=True, slots=True)
class TrainedRow:
    """``question_id`` is None if the RL data of that version is not here any more, or does not say."""

    row: int
    question_id: int | str | None


def trained_rows(chain: Artifact, store: Store) -> list[TrainedRow]:
    """The RL rows of the nearest training on rewards in the chain; where its manifest is not here, those of
    another training behind it are not they."""
    trained = next((node for node in chain.walk() if node.name in _TRAINED), None)
    if trained is None or trained.manifest is None or "trained_on_rows" not in trained.manifest.facts:
        raise UserError(
            f"no manifest under {store.root} tells what this {chain.asset} was trained on, so its rows are not "
            "known; --rows needs a checkpoint that was trained here."
        )
    ids = _question_ids(trained.inputs["rl_data"], store)
    return [TrainedRow(row, ids.get(row)) for row in trained.manifest.facts["trained_on_rows"]]


def _question_ids(rl_data: Artifact, store: Store) -> dict[int, int | str | None]:
    """By row, from the RL data that was really read: only if it still has those bytes."""
    if rl_data.manifest is None:
        return {}
    (record,) = rl_data.manifest.files
    path = store.resolve(record)
    if not path.is_file() or store.digests.file(path) != record.sha256:
        return {}
    return {query.row: query.question_id for query in read_rl_data(path).queries}
