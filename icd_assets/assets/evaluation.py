"""evaluation: trained selectors, baselines and the pool's best on the validation split, by accuracy or CIDEr."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from icd_assets.assets import inputs
from icd_assets.assets.figures import Markdown, Table
from icd_assets.assets.step_run import Report, StepRun
from icd_assets.evaluation.selections import Selection

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from icd_assets.datasets.vqa import VqaItem
    from icd_assets.pools.similarity import SamplerFeatures
    from icd_assets.selector.model import PointerSelectorV2
    from icd_assets.vlm.backend import Backend

_ORACLE_CHUNK = 16  # queries whose best demonstrations are searched together


def evaluation(run: StepRun) -> Report:
    from icd_assets.datasets.subset import read_subset
    from icd_assets.evaluation.compare import compare
    from icd_assets.evaluation.evaluate import evaluate
    from icd_assets.evaluation.report import upstream_metrics, write_metrics, write_predictions
    from icd_assets.pools.files import write_pools

    experiment, config = run.experiment, run.config
    library, validation = experiment.data.train, experiment.data.validation
    rows = read_subset(experiment.data.subset_path(), validation) if config.subset else range(len(validation))
    queries = [validation[row] for row in rows[: config.query_count(len(rows))]]
    pools = _pools(run, queries)
    inputs.require_images(run, [*queries, *(library[row] for row in inputs.rows_of(pools))])
    metric = inputs.metric(run, queries)
    vlm = inputs.open_vlm(run)
    selections = _selections(run, queries, pools, library, vlm)
    outcomes = evaluate(selections, queries, pools, library, vlm, metric, run.on_progress)
    similarity = f"{experiment.task.similarities[-1]} similarity"
    name = experiment.task.metric_name
    comparison = compare(outcomes, config, ("random", similarity, "v2 (SFT)"), name)

    comparison.write(run.staging / "comparison.json")
    (run.staging / "comparison.md").write_text(comparison.markdown(), encoding="utf-8")
    write_predictions(run.staging / "predictions.jsonl", outcomes)
    recommended = _trained_phases(run)[-1]
    metrics = upstream_metrics(outcomes, recommended)
    write_metrics(run.staging / "metrics.json", f"test_data_num={len(queries)}-LeverLMRetriever", metrics)
    write_pools(run.staging / "validation_pools.json", pools)
    folder = experiment.paths.evaluation
    names = ("comparison.json", "comparison.md", "predictions.jsonl", "metrics.json", "validation_pools.json")
    by_strategy = {
        f"{name} {row.strategy}": row.score.value
        for row in comparison.strategies
        if row.shots in (0, config.compare_shots)
    }
    return Report(
        files={folder / name: run.staging / name for name in names},
        facts={
            "rows": len(queries),
            "compare_shots": config.compare_shots,
            "recommended": recommended,
            "metric": name,
            f"recommended_{name}": comparison.row(recommended).score.value,
            "vlm_prompts_asked": vlm.asked,
            "vlm_prompts_reused": vlm.reused,
            **by_strategy,
            "comparison": comparison.markdown(),
        },
    )


def show(facts: Mapping[str, Any]) -> dict[str, Markdown | Table]:
    return {"comparison": Markdown(facts["comparison"])}


def _pools(run: StepRun, queries: Sequence[VqaItem]) -> dict[int, tuple[int, ...]]:
    """Validation row → the train rows that the cell's sampler offers it; upstream has none (SPEC M)."""
    from icd_assets.pools.config import SAMPLERS, PoolConfig
    from icd_assets.pools.samplers import build_pools

    experiment = run.experiment
    sampler, library = experiment.cell.sampler, experiment.data.train
    of_library = of_queries = None
    if SAMPLERS[sampler].needs_features:
        of_library = inputs.sampler_features(run, library, library, offered=True)
        of_queries = inputs.sampler_features(run, experiment.data.validation, queries)
    return build_pools(
        sampler,
        queries,
        library,
        PoolConfig(**{name: value for name, value in run.spec.config["pools"].items() if name != "sampler"}),
        same_split=False,
        query_features=of_queries,
        library_features=of_library,
        on_progress=run.on_progress,
    )


def _trained_phases(run: StepRun) -> list[str]:
    """The trained policies as the table names them; the last one is the recommended one."""
    return ["v2 (SFT)", "RCE", "GRPO"] if "grpo_checkpoints" in run.spec.inputs else ["v2 (SFT)", "RCE"]


def _selections(
    run: StepRun,
    queries: Sequence[VqaItem],
    pools: Mapping[int, Sequence[int]],
    library: Sequence[VqaItem],
    vlm: Backend,
) -> list[Selection]:
    """All strategies at the main number of shots; the ones worth following at the others."""
    from icd_assets.evaluation.strategies import random_selection, shuffled_labels, similarity_selection, zero_shot
    from icd_assets.pools.similarity import SamplerFeatures

    config, main = run.config, run.config.compare_shots
    kinds = run.experiment.task.similarities
    encoder = inputs.v2_encoder(run)
    shown = inputs.rows_of(pools)  # encode what pools offer, not all rows
    place = {row: index for index, row in enumerate(shown)}
    placed = {row: [place[id] for id in pool] for row, pool in pools.items()}
    of_queries = SamplerFeatures(*encoder.features(queries))
    of_pools = SamplerFeatures(*encoder.features([library[row] for row in shown]))
    query, pool = _embedded(of_queries), _embedded(of_pools)
    policies = _policies(run)
    selections = [zero_shot([query.row for query in queries])]
    for shots in config.all_shots:
        selections.append(random_selection(pools, shots, config.seed))
        for kind in kinds if shots == main else kinds[-1:]:
            selections.append(similarity_selection(kind, placed, shots, of_queries, of_pools))
        selected = [
            Selection(name, shots, _selected(policy, placed, shots, query, pool))
            for name, policy in policies.items()
        ]
        selections += selected
        if shots == main:
            selections.append(shuffled_labels(selected[-1], pools, library, config.seed))
            selections += _oracle(run, queries, pools, library, vlm)
    return selections


def _policies(run: StepRun) -> dict[str, PointerSelectorV2]:
    """The v2 selector, the last epoch of each trained phase, and of the recommended one the v2-format file."""
    from icd_assets.selector.v2_file import read_v2
    from icd_assets.selector.v3_file import load_policy

    names = _trained_phases(run)
    found = {names[0]: inputs.v2_policy(run).to("cpu")}
    if "GRPO" in names:
        found["RCE"] = inputs.last_epoch(run, "rce_checkpoints").to("cpu")
    found[names[-1]] = run.read(
        "v2format_checkpoint", lambda files, _: load_policy(read_v2(files[0]).state, files[0])
    )
    return found


def _embedded(features: SamplerFeatures) -> Tensor:
    """What the selector sees of the same items [n, D]."""
    import torch

    from icd_assets.selector.encoder import combine

    return combine(torch.from_numpy(features.text), torch.from_numpy(features.image))


def _selected(
    policy: PointerSelectorV2,
    placed: Mapping[int, Sequence[int]],
    shots: int,
    query: Tensor,
    pool: Tensor,
) -> dict[int, tuple[int, ...]]:
    """The policy's greedy pointers, in the order picked, which is prompt order as in training.

    ``query`` [n, D] follows ``placed``; ``pool`` [m, D] are the rows that its places name.
    """
    from icd_assets.selector.decoding import greedy

    return {
        row: tuple(greedy(policy, query[index : index + 1], pool[list(places)][None], shots)[0].tolist())
        for index, (row, places) in enumerate(placed.items())
    }


def _oracle(
    run: StepRun,
    queries: Sequence[VqaItem],
    pools: Mapping[int, Sequence[int]],
    library: Sequence[VqaItem],
    vlm: Backend,
) -> list[Selection]:
    """The best demonstrations in each pool, found with the true answer in hand: what a selector could reach."""
    from icd_assets.scoring.infoscore import BeamConfig, infoscore_beams

    config = run.config
    if config.oracle_beams == 0:
        return []
    search = BeamConfig(beam_size=config.oracle_beams, shots=config.compare_shots, expand=config.oracle_expand)
    pointers = {}
    for start in range(0, len(queries), _ORACLE_CHUNK):
        chunk = queries[start : start + _ORACLE_CHUNK]
        for row, found in infoscore_beams(chunk, pools, library, vlm, search).items():
            pointers[row] = tuple(list(pools[row]).index(id) for id in found.beams[0].icds)
        run.on_progress(len(pointers), len(queries))
    return [Selection("best in pool (oracle)", config.compare_shots, pointers)]
