"""What the run would do: do its settings fit together, where v2 checkpoint and RL data come from, the plan."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from icd_assets.errors import UserError
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.plan import Plan
from icd_assets.experiment.steps import STEPS
from icd_assets.experiment.upstream_variables import without_effect
from icd_assets.experiment.v2_source import importable_v2
from icd_assets.runtime.finding import Finding, in_bytes


def settings(experiment: Experiment, rows: Mapping[str, int]) -> Iterator[Finding]:
    """Contradictions that a step would find only when it is its turn. ``rows``: questions per split, if known."""
    try:
        for step in STEPS:
            experiment.config(step.name)
    except UserError as error:
        yield Finding("settings", "problem", str(error))
        return
    if ignored := without_effect(os.environ):
        yield Finding("settings", "warning", ignored, "unset it, or set what it should have done")
    found = list(_contradictions(experiment, rows))
    for text in found:
        yield Finding("settings", "problem", text)
    if not found:
        yield Finding("settings", "ok", "no contradictions")


def _contradictions(e: Experiment, rows: Mapping[str, int]) -> Iterator[str]:
    shared, pools, v2 = e.settings.shared, e.config("candidate_pools"), e.config("v2_checkpoint")
    grpo, converted, train = e.config("grpo_checkpoints"), e.config("v2format_checkpoint"), rows.get("train")
    if shared.shots > shared.pool_size:
        yield f"shared.shots is {shared.shots}, but a pool has {shared.pool_size} candidates; take fewer shots."
    if (most := max(e.config("evaluation").all_shots)) > shared.pool_size:
        yield f"evaluation asks for {most} shots, but a pool has {shared.pool_size} candidates; take fewer shots."
    if train is not None and e.dataset.sample_num > train:
        yield f"sample_num is {e.dataset.sample_num}, but the train split has {train} rows; take 1 to {train}."
    if train is not None and shared.pool_size >= train:
        yield f"shared.pool_size is {shared.pool_size}, but the train split has {train} rows; take a smaller pool."
    mixed = pools.mix_rand + pools.mix_text + pools.mix_image
    if e.cell.sampler == "MixSampler" and abs(mixed - 1) > 1e-9:
        yield f"mix_rand + mix_text + mix_image is {mixed:g}; the three shares must sum to 1."
    if v2.hidden_dim % v2.num_heads:
        yield f"v2_checkpoint.hidden_dim is {v2.hidden_dim}, which {v2.num_heads} heads do not divide; change one."
    if v2.source == "train" and v2.checkpoint is not None:
        yield "LEVER_LM_CHECKPOINT_PATH is set, but v2_checkpoint.source is train; unset one of them."
    if grpo.use_ppo_clip_only and grpo.kl_beta:
        yield f"USE_PPO_CLIP is true and KL_BETA is {grpo.kl_beta:g}, but clipping has no KL term; unset one."
    if converted.source == "grpo" and grpo.grpo_epochs == 0 and e.manifest("grpo_checkpoints") is None:
        yield "v2format_checkpoint.source is grpo, but GRPO_EPOCHS is 0; give it epochs or take rce."


def v2_checkpoint(experiment: Experiment, steps: Collection[str], prompts: Mapping[str, int]) -> Iterator[Finding]:
    """Imported (and read through), there already, or trained, and what that costs."""
    path, manifest = importable_v2(experiment), experiment.manifest("v2_checkpoint")
    if path is not None:
        from icd_assets.selector.key_names import infer_config
        from icd_assets.selector.v2_file import read_v2

        shape = infer_config(read_v2(path).state, path)
        size = in_bytes(path.stat().st_size)
        text = f"imported from {path} ({size}, D {shape.embedding_dim}, H {shape.hidden_dim})"
    elif manifest is not None and "v2_checkpoint" not in steps:
        text = f"there already, trained by run {manifest.run_id}"
    elif "beam_data" in steps or experiment.manifest("beam_data") is None:
        count = f" ({prompts['beam_data']} scored prompts)" if "beam_data" in prompts else ""
        text = f"none to import: trained, after beam data is made{count}"
    else:
        text = "none to import: trained from the beam data that is there"
    yield Finding("v2_checkpoint", "ok", text)


def rl_data(experiment: Experiment, rows: Mapping[str, int]) -> Iterator[Finding]:
    """The user's own RL data is read through, under the reward that will be trained on."""
    from icd_assets.scoring.rl_file import read_rl_data
    from icd_assets.scoring.training_rows import training_rows

    config, rce = experiment.config("rl_data"), experiment.config("rce_checkpoints")
    if config.path is None:
        yield Finding("rl_data", "ok", "generated (RL_DATA_PATH is not set)")
        return
    data = read_rl_data(Path(config.path), n_rows=rows.get("train"))
    usable = training_rows(
        data,
        experiment.reward,
        skip_fallback=rce.skip_fallback_reward,
        require_positive=rce.require_positive_query,
    )
    teaching = sum(len(set(row.rewards)) > 1 for row in usable)
    text = f"{config.path}: {len(data.queries)} queries, {len(usable)} usable, {teaching} with rewards that differ"
    if repairs := data.repairs():
        text = f"{text}; {repairs}"
    if teaching:
        yield Finding("rl_data", "ok", text)
    else:
        yield Finding("rl_data", "problem", text, "there is nothing to learn from it; generate RL data anew")


def plan_line(plan: Plan) -> Finding:
    """What would be made, and why."""
    made = [f"{item.step.name} ({item.reason})" for item in plan.steps if item.reason is not None]
    return Finding("plan", "ok", f"would make {', '.join(made)}" if made else "nothing has to be done")
