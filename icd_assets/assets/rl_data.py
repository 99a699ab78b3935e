"""rl_data: per query, pointers proposed by the last selector and by baselines, answered by the VLM and scored."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icd_assets.assets import inputs
from icd_assets.assets.learned import shaped_as, training_labels
from icd_assets.assets.step_run import Report, StepRun
from icd_assets.experiment.recipes import STAGES

if TYPE_CHECKING:
    from icd_assets.scoring.rl_data import RlData, RlQuery
    from icd_assets.selector.model import PointerSelector


def rl_data(run: StepRun) -> Report:
    from icd_assets.scoring.rl_file import write_rl_data
    from icd_assets.scoring.rl_signal import facts

    experiment = run.experiment
    if run.config.path is not None:
        path = staged = Path(run.config.path).absolute()
        data, origin, refused = _imported(run, path), "imported", 0
    else:
        path, origin = experiment.paths.rl_data, "made"
        staged = run.staging / path.name
        data, refused = _collected(run)
        write_rl_data(staged, data)
    found = facts(data, experiment.reward, experiment.task.metric_name.lower())
    if refused:
        found["vlm_prompts_refused"] = refused
    found |= _headroom(run, data)
    return Report(files={path: staged}, facts=found, origin=origin)


def _headroom(run: StepRun, data: RlData) -> dict[str, Any]:
    """What the policy's first beam loses to the best stored pointer, on rows SFT was fitted to and on others."""
    from icd_assets.evaluation.headroom import of_stored, stored_facts, stored_sentence
    from icd_assets.experiment.fitted_rows import fitted_rows, score_limit
    from icd_assets.scoring.headroom import stored_losses

    kinds = of_stored(stored_losses(data), fitted_rows(run.experiment), score_limit(run.experiment))
    for kind, found in kinds.items():
        run.note(stored_sentence(kind, found))
    return stored_facts(kinds)


def _imported(run: StepRun, path: Path) -> RlData:
    """The user's file, checked and recorded where it lies."""
    from icd_assets.scoring.rl_data import require_same_questions
    from icd_assets.scoring.rl_file import read_rl_data

    train = run.experiment.data.train
    data = read_rl_data(path, n_rows=len(train))
    require_same_questions(path, data, train)
    if repairs := data.repairs():
        run.note(f"{path.name}: {repairs}")
    return data


def _collected(run: StepRun) -> tuple[RlData, int]:
    """The data, and how many prompts the model's server refused."""
    from icd_assets.pools.rl_queries import paid_for, rows_for
    from icd_assets.pools.rows import all_rows
    from icd_assets.scoring.collect_rl_data import collect_rl_data
    from icd_assets.scoring.rl_data import RlData

    library, own = run.experiment.data.train, inputs.rl_queries(run)
    pools, roles = (inputs.train_pools(run), None) if own is None else (own.pools, own.roles)
    if run.config.answers is not None:
        rows = rows_for(run.config.answers, run.config.pointers * run.config.rounds)
        pools = paid_for(pools, roles, rows)
        roles = None if roles is None else {row: roles[row] for row in pools}
    metric = inputs.metric(run, library)
    inputs.require_images(run, (library[row] for row in all_rows(pools)))
    embeddings = inputs.embeddings(run)
    policy = _proposing(run)
    with inputs.open_vlm(run) as vlm:
        queries = collect_rl_data(
            policy,
            pools,
            library,
            embeddings,
            vlm,
            metric,
            run.config,
            gt_prob=run.spec.config["gt_prob"],
            prefix_rewards=run.config.prefix_rewards,
            roles=roles,
            rounds=run.config.rounds,
            retrain=None if run.config.rounds == 1 else partial(_retrained, run, policy),
            on_progress=run.on_progress,
        )
    return RlData(queries=tuple(queries), meta=_meta(run)), vlm.refused


def _retrained(run: StepRun, first: PointerSelector, answered: list[RlQuery]) -> PointerSelector:
    """The selector that proposes in the next round: of all labels and all answers so far, from the first one's
    weights, as rl_selector is trained; its own settings are of no other step, so the defaults."""
    from icd_assets.experiment.step_configs import RlTraining
    from icd_assets.scoring.rl_data import RlData
    from icd_assets.selector.learn import train_selector

    shared = run.experiment.settings.shared
    config = shaped_as(first, RlTraining(architecture=shared.architecture, seed=shared.seed))
    labels = training_labels(run, RlData(queries=tuple(answered), meta={}))
    return train_selector(labels, config, stage="round", device=run.device, start=first).policy


def _proposing(run: StepRun) -> PointerSelector:
    """The selector that pointers are proposed by."""
    own = [asset for asset in STAGES if asset in run.spec.inputs]
    return inputs.selector(run, own[-1]) if own else inputs.v2_policy(run)


def _meta(run: StepRun) -> dict[str, Any]:
    """What upstream's `_meta` says, and the lineage; no time of day, so that equal data are equal bytes."""
    model = run.experiment.model
    return {
        "vqa_model": model.name,
        "task_gen_args": {**model.generation.model_dump(), "do_sample": False},
        "strict_eval": True,
        **({"gt_prob": True} if run.spec.config["gt_prob"] else {}),  # without it, vqa_gt_prob is null throughout
        "lineage": run.spec.lineage(),
    }
