"""evaluation: trained selectors, baselines and the pool's best on the validation split, by accuracy or CIDEr."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from icd_assets.assets import inputs
from icd_assets.assets.figures import Markdown, Score, Table, bars
from icd_assets.assets.step_run import Report, StepRun
from icd_assets.experiment.recipes import STAGES, stage_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from icd_assets.datasets.vqa import VqaItem
    from icd_assets.evaluation.report import Comparison
    from icd_assets.selector.model import PointerSelector


def evaluation(run: StepRun) -> Report:
    from icd_assets.evaluation.evaluate_selectors import evaluate_selectors
    from icd_assets.evaluation.predictions import NAME, write_predictions
    from icd_assets.evaluation.report import upstream_metrics, write_metrics
    from icd_assets.evaluation.verdict import verdict
    from icd_assets.pools.files import write_pools
    from icd_assets.pools.rows import candidate_rows

    experiment, library = run.experiment, run.experiment.data.train
    queries = _queries(run)
    pools = _pools(run, queries)
    inputs.require_images(run, [*queries, *(library[row] for row in candidate_rows(pools))])
    metric = inputs.metric(run, queries)
    policies = _policies(run)
    with inputs.open_vlm(run) as vlm:
        found = evaluate_selectors(
            policies,
            queries,
            pools,
            library,
            partial(inputs.encoder(run).features, on_progress=run.on_progress),
            vlm,
            metric,
            run.config,
            similarities=experiment.task.similarities,
            prices=_prices(run),
            embeddings=inputs.embeddings(run) if "embeddings" in run.spec.inputs else None,
            on_progress=run.on_progress,
        )

    outcomes, comparison, recommended = found.outcomes, found.comparison, list(policies)[-1]
    comparison.write(run.staging / "comparison.json")
    (run.staging / "comparison.md").write_text(comparison.markdown(), encoding="utf-8")
    write_predictions(
        run.staging / NAME,
        outcomes,
        queries,
        library,
        folders=(experiment.data.validation.images_folder, library.images_folder),
    )
    metrics = upstream_metrics(outcomes, recommended)
    write_metrics(run.staging / "metrics.json", f"test_data_num={len(queries)}-LeverLMRetriever", metrics)
    write_pools(run.staging / "validation_pools.json", pools)
    _keep_former(run)
    run.trackers.summarize(_bounds(comparison))
    folder = experiment.paths.evaluation
    names = ("comparison.json", "comparison.md", NAME, "metrics.json", "validation_pools.json")
    return Report(
        files={folder / name: run.staging / name for name in names},
        facts={
            "rows": len(queries),
            "compare_shots": comparison.compare_shots,
            "recommended": recommended,
            "metric": comparison.metric,
            f"recommended_{comparison.metric}": comparison.row(recommended).score.value,
            **vlm.counts,
            **_scores(comparison),
            "comparison": comparison.markdown(),
            "verdict": " ".join(verdict(comparison)),
            "intervals": _intervals(comparison),
        },
    )


def _keep_former(run: StepRun) -> None:
    """Set the evaluation that is replaced aside, if its answers are others."""
    from icd_assets.evaluation.earlier import altered, keep
    from icd_assets.evaluation.predictions import NAME, folder_of
    from icd_assets.store.digests import sha256_file

    former, place = run.experiment.manifest("evaluation"), run.experiment.paths.evaluation
    if former is None or sha256_file(run.staging / NAME) in {record.sha256 for record in former.files}:
        return
    source = folder_of(former, place, run.experiment.store.root)
    if (kept := keep(place, former, source)) is not None:
        run.note(f"the former evaluation stays in {kept}; compare: icd-assets compare CELL earlier:1")
    else:
        run.note(f"the former evaluation is not kept: {altered(source, former)}")


def show(facts: Mapping[str, Any]) -> dict[str, Markdown | Table]:
    """The verdict and the chart, then the table, which the UI shows at a click; earlier ones have neither."""
    table: dict[str, Markdown | Table] = {"comparison": Markdown(facts["comparison"])}
    if "intervals" not in facts:
        return table
    scores = [Score(name, *interval) for name, interval in facts["intervals"].items()]
    return {"verdict": Markdown(facts["verdict"]), "scores": bars(scores), **table}


def _queries(run: StepRun) -> list[VqaItem]:
    """The validation items that the settings ask for."""
    from icd_assets.datasets.subset import read_subset

    data, config = run.experiment.data, run.config
    validation = data.validation
    rows = read_subset(data.subset_path(), validation) if config.subset else range(len(validation))
    return [validation[row] for row in rows[: config.query_count(len(rows))]]


def _pools(run: StepRun, queries: Sequence[VqaItem]) -> dict[int, tuple[int, ...]]:
    """Validation row → the train rows that the cell's sampler offers it; upstream has none (SPEC M)."""
    from icd_assets.pools.config import PoolConfig
    from icd_assets.pools.samplers import build_pools

    experiment, library = run.experiment, run.experiment.data.train
    offered = inputs.sampler_features(run, library, library, offered=True)
    asked = inputs.sampler_features(run, experiment.data.validation, queries)
    return build_pools(
        experiment.cell.sampler,
        queries,
        library,
        PoolConfig(**{name: value for name, value in run.spec.config["pools"].items() if name != "sampler"}),
        same_split=False,
        query_features=asked,
        library_features=offered,
        on_progress=run.on_progress,
    )


def _policies(run: StepRun) -> dict[str, PointerSelector]:
    """The trained selectors as the table names them, all on the CPU, the recommended one last."""
    if own := [asset for asset in STAGES if asset in run.spec.inputs]:
        policies = ((asset, inputs.selector(run, asset).to("cpu")) for asset in own)
        return {stage_name(asset, policy.config.architecture): policy for asset, policy in policies}
    return _of_beams(run)


def _of_beams(run: StepRun) -> dict[str, PointerSelector]:
    """The v2 selector, of an earlier phase the last epoch, and the recommended one of the v2-format file."""
    from icd_assets.selector.v2_file import read_v2
    from icd_assets.selector.v3_file import load_policy

    grpo = "grpo_checkpoints" in run.spec.inputs
    found = {"v2 (SFT)": inputs.v2_policy(run).to("cpu")}
    if grpo:
        found["RCE"] = inputs.last_epoch(run, "rce_checkpoints").to("cpu")
    found["GRPO" if grpo else "RCE"] = run.read(
        "v2format_checkpoint", lambda files, _: load_policy(read_v2(files[0]).state, files[0])
    )
    return found


def _prices(run: StepRun) -> dict[str, int]:
    """Policy → distinct prompts that its labels need, as far as it is known."""
    own = [asset for asset in STAGES if asset in run.spec.inputs]
    if not own:
        return _prices_of_beams(run)
    architecture = run.experiment.settings.shared.architecture
    return {stage_name(asset, architecture): run.experiment.fact(asset, "prompts") for asset in own}


def _prices_of_beams(run: StepRun) -> dict[str, int]:
    """Of SFT the beams, of RL the answers of RL data besides; none of a checkpoint of the user's own."""
    experiment = run.experiment
    beams, data = experiment.manifest("beam_data"), experiment.manifest("rl_data")
    v2 = experiment.manifest("v2_checkpoint")
    if beams is None or v2 is None or v2.spec.digests.get("beam_data") != beams.data_version:
        return {}
    if "vlm_prompts_asked" not in beams.facts:
        return {}
    supervised = int(beams.facts["vlm_prompts_asked"] + beams.facts["vlm_prompts_reused"])
    found = {"v2 (SFT)": supervised}
    if data is not None and data.origin == "made":
        found |= dict.fromkeys(("RCE", "GRPO"), supervised + int(data.facts["candidates"]))
    return found


def _scores(comparison: Comparison) -> dict[str, float]:
    """The main table's scores as facts, by metric and strategy."""
    return {f"{comparison.metric} {row.strategy}": row.score.value for row in comparison.main}


def _bounds(comparison: Comparison) -> dict[str, float]:
    """The 95 % intervals of those scores, by the score's name and the bound."""
    low = {f"{comparison.metric} {row.strategy} low": row.score.low for row in comparison.main}
    return low | {f"{comparison.metric} {row.strategy} high": row.score.high for row in comparison.main}


def _intervals(comparison: Comparison) -> dict[str, tuple[float, float, float]]:
    """Strategy → (score, low, high) of the main table, what a reader asks for first: the recommended one, its
    references, the best of the pool, then by score."""
    first = [comparison.recommended, *comparison.references]
    rows = sorted(
        comparison.main,
        key=lambda row: (first.index(row.strategy) if row.strategy in first else len(first), -row.score.value),
    )
    return {row.strategy: (row.score.value, row.score.low, row.score.high) for row in rows}
