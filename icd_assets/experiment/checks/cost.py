"""What the planned steps will ask and write: counts and bytes, from settings and row numbers alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.recipes import own_rl_rows, stages
from icd_assets.scoring.infoscore import BeamConfig, prompts_at_most

# Bytes of one entry, measured on the demo's files and rounded up.
_POOL_ENTRY, _BEAM, _RL_CANDIDATE, _ANSWER, _PREDICTION = 9, 600, 768, 128, 400
_LABEL = 32  # a position's value, in JSON
_SELECTOR = 4_000_000  # a hidden width of 512 at most
_CHECKPOINT = 6000  # names and shapes around the numbers


def prompts(experiment: Experiment, steps: Collection[str], rows: Mapping[str, int]) -> dict[str, int]:
    """How many prompts the VLM is asked at most, per step; answers that are kept are not asked again."""
    anchors, pool = _anchors(experiment, rows), experiment.settings.shared.pool_size
    asked = {
        "beam_data": anchors * prompts_at_most(pool, experiment.config("beam_data")),
        "single_labels": _single_rows(experiment, rows) * (pool + 1),
        "step_labels": _step_labels(experiment, rows),
        "rl_data": _rl_data_rows(experiment, rows) * _pointers(experiment),
        "evaluation": _predictions(experiment, rows) + _oracle(experiment, rows),
    }
    return {name: count for name, count in asked.items() if name in steps}


def written(
    experiment: Experiment, steps: Collection[str], rows: Mapping[str, int], encoder: int, width: int
) -> dict[str, int]:
    """Bytes that each planned step writes. ``encoder``: bytes of the CLIP weights; ``width``: D of its vectors."""
    anchors, pool = _anchors(experiment, rows), experiment.settings.shared.pool_size
    selector = _selector_bytes(experiment, width)
    rce, grpo = experiment.config("rce_checkpoints"), experiment.config("grpo_checkpoints")
    sizes = {
        "candidate_pools": (anchors + rows["validation"]) * pool * _POOL_ENTRY,
        "beam_data": anchors * experiment.settings.shared.beam_size * _BEAM,
        "v2_checkpoint": encoder + selector,
        "embeddings": 2 * rows["train"] * width * 4,
        "single_labels": _single_rows(experiment, rows) * (pool + 1) * _LABEL,
        "singles_selector": _CHECKPOINT + _SELECTOR,
        "step_labels": _step_labels(experiment, rows) * _LABEL,
        "sequence_selector": _CHECKPOINT + _SELECTOR,
        "rl_queries": _rl_rows(experiment, rows) * pool * _POOL_ENTRY,
        "rl_data": _rl_data_rows(experiment, rows) * _pointers(experiment) * _RL_CANDIDATE,
        "rl_selector": _CHECKPOINT + _SELECTOR,
        "rce_checkpoints": rce.rce_epochs * selector,
        "grpo_checkpoints": grpo.grpo_epochs * selector,
        "v2format_checkpoint": (2 if grpo.grpo_epochs else 1) * 3 * selector,  # of each phase's last epoch
        "evaluation": _predictions(experiment, rows) * _PREDICTION,
    }
    asked = sum(prompts(experiment, steps, rows).values())
    return {name: size for name, size in sizes.items() if name in steps and size} | (
        {"answers": asked * _ANSWER} if asked else {}
    )


def _anchors(experiment: Experiment, rows: Mapping[str, int]) -> int:
    return min(experiment.dataset.sample_num, rows["train"])


def _single_rows(experiment: Experiment, rows: Mapping[str, int]) -> int:
    anchors, asked = _anchors(experiment, rows), experiment.config("single_labels").rows
    return anchors if asked is None else min(anchors, asked)


def _step_labels(experiment: Experiment, rows: Mapping[str, int]) -> int:
    """After one pick the prefix itself was asked before; after more it is a prompt of its own."""
    config, pool = experiment.config("step_labels"), experiment.settings.shared.pool_size
    labelled = _single_rows(experiment, rows)
    of_query = sum(pool - picks + (picks > 1) for picks in range(1, config.longest + 1)) * config.prefixes
    return int(min(labelled, config.rows or labelled) * of_query)


def _rl_rows(experiment: Experiment, rows: Mapping[str, int]) -> int:
    anchors = _anchors(experiment, rows)
    if not own_rl_rows(experiment):
        return anchors
    config = experiment.config("rl_queries")
    return int(min(config.rows + config.validation_rows, rows["train"]))


def _pointers(experiment: Experiment) -> int:
    """Of one query, over all rounds."""
    config = experiment.config("rl_data")
    return int(config.pointers * config.rounds)


def _rl_data_rows(experiment: Experiment, rows: Mapping[str, int]) -> int:
    answers, offered = experiment.config("rl_data").answers, _rl_rows(experiment, rows)
    return offered if answers is None else min(offered, answers // _pointers(experiment))


def _predictions(experiment: Experiment, rows: Mapping[str, int]) -> int:
    """Zero-shot once; at each number of shots random, image+text similarity and the policies; in the main table
    the other two similarities, the baselines, shuffled labels and each policy over the whole library as well."""
    config = experiment.config("evaluation")
    policies = len(stages(experiment)) or (3 if experiment.config("grpo_checkpoints").grpo_epochs else 2)
    main = 3 + len(set(config.baselines)) + (policies if config.library_candidates else 0)
    return int(config.query_count(rows["validation"]) * (1 + len(config.all_shots) * (2 + policies) + main))


def _oracle(experiment: Experiment, rows: Mapping[str, int]) -> int:
    config = experiment.config("evaluation")
    if config.oracle_beams == 0:
        return 0
    shots, expand = config.compare_shots, config.oracle_expand
    search = BeamConfig(beam_size=config.oracle_beams, shots=shots, expand=expand)
    pool = experiment.settings.shared.pool_size
    tried = min(config.query_count(rows["validation"]), config.oracle_queries or rows["validation"])
    return int(tried * prompts_at_most(pool, search))


def _selector_bytes(experiment: Experiment, width: int) -> int:
    """float32 parameters of SPEC E.1: attention and norm per layer, two projections, the gate, the input."""
    config = experiment.config("v2_checkpoint")
    hidden = config.hidden_dim
    layers = config.num_layers * (4 * hidden**2 + 4 * hidden + 2 * hidden)
    entry = width * hidden if width != hidden else 0
    return int(_CHECKPOINT + 4 * (layers + 2 * hidden**2 + 2 * hidden**2 + hidden + entry))
