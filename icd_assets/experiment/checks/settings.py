"""Do the settings of all planned steps fit together? A step would find out only when it is its turn."""

from __future__ import annotations

from collections.abc import Iterator

from icd_assets.errors import UserError
from icd_assets.experiment.checks.look import Look
from icd_assets.experiment.experiment import Experiment
from icd_assets.runtime.finding import Finding
from icd_assets.scoring.rewards import knows_correct, weights
from icd_assets.trackers.known import missing


def settings(look: Look) -> Iterator[Finding]:
    """Every step's config is valid by itself, and they do not contradict each other."""
    experiment, planned = look.experiment, [item.step.name for item in look.plan.steps]
    well = True
    for name in planned:
        try:
            experiment.config(name)
        except UserError as error:
            well = False
            yield Finding("settings", "problem", str(error))
    try:
        _ = experiment.reward
    except UserError as error:
        well = False
        yield Finding("settings", "problem", str(error))
    if not well:
        return
    for text in _contradictions(experiment, set(planned)):
        well = False
        yield Finding("settings", "problem", text)
    if well:
        yield Finding("settings", "ok", "no contradictions")


def _contradictions(e: Experiment, planned: set[str]) -> Iterator[str]:
    shared, pools, v2 = e.settings.shared, e.config("candidate_pools"), e.config("v2_checkpoint")
    yield from missing(shared.trackers or ())
    if shared.shots > shared.pool_size:
        yield f"shared.shots is {shared.shots}, but a pool has {shared.pool_size} candidates; take fewer shots."
    if "evaluation" in planned and (most := max(e.config("evaluation").all_shots)) > shared.pool_size:
        yield (
            f"evaluation asks for {most} shots, but a pool has {shared.pool_size} candidates; set "
            "evaluation.shot_counts and evaluation.compare_shots lower, or take larger pools."
        )
    elif "evaluation" in planned and 2 * (main := e.config("evaluation").compare_shots) > shared.pool_size:
        yield (
            f"evaluation.compare_shots is {main}, and the control with shuffled labels needs as many other "
            f"candidates, but a pool has {shared.pool_size}; set it lower or take larger pools."
        )
    mixed = pools.mix_rand + pools.mix_text + pools.mix_image
    if e.cell.sampler == "MixSampler" and abs(mixed - 1) > 1e-9:
        yield f"mix_rand + mix_text + mix_image is {mixed:g}; the three shares must sum to 1."
    if v2.hidden_dim % v2.num_heads:
        yield f"v2_checkpoint.hidden_dim is {v2.hidden_dim}, which {v2.num_heads} heads do not divide; change one."
    if v2.source == "train" and v2.checkpoint is not None:
        yield "LEVER_LM_CHECKPOINT_PATH is set, but v2_checkpoint.source is train; unset one of them."
    if "rl_data" in planned and (rl := e.config("rl_data")).path is None:
        proposed = rl.num_beams + rl.samples_per_temp * len(rl.temps) + rl.num_retrieval + rl.num_random
        if not proposed:
            yield "rl_data proposes no pointers: num_beams, samples_per_temp, num_retrieval and num_random are 0."
        if proposed == 1:
            yield (
                "rl_data proposes one pointer a query, of which none is the better; raise rl_data.num_beams or "
                "another of its counts."
            )
        if any(temperature <= 0 for temperature in rl.temps):
            yield f"rl_data.temps is {rl.temps}; sampling temperatures must be above 0."
    if "grpo_checkpoints" in planned:
        grpo = e.config("grpo_checkpoints")
        if grpo.use_ppo_clip_only and grpo.kl_beta:
            yield (
                f"USE_PPO_CLIP is true and KL_BETA is {grpo.kl_beta:g}, but clipping has no KL term; unset one."
            )
        if grpo.topk_before_advantage and 1 in (grpo.first_epoch_top_k, grpo.later_epochs_top_k):
            yield (
                "grpo_checkpoints.topk_before_advantage compares the k best of a query among themselves, but k "
                "is 1; set first_epoch_top_k and later_epochs_top_k to 0 or at least 2."
            )
    weighed = weights(e.reward.mode)
    judged = planned & {"rl_data", "rce_checkpoints", "grpo_checkpoints"}
    if judged and weighed and not any(getattr(e.reward, name) for name in weighed):
        yield (
            f"reward mode {e.reward.mode} weighs by {', '.join(weighed)}, and each is 0, so every reward would be "
            f"0; give one, such as --set reward.{weighed[-1]}=1."
        )
    for name in ("rce_checkpoints", "grpo_checkpoints"):
        if name in planned and e.config(name).require_positive_query and not knows_correct(e.reward):
            yield (
                f"REQUIRE_POSITIVE_QUERY asks for correct answers, but reward mode {e.reward.mode} knows none; "
                "unset it."
            )
            break
    if "evaluation" in planned and e.config("evaluation").num_queries == 0:
        yield "TEST_DATA_NUM is 0, so there is nothing to evaluate; raise it, or stop --to v2format_checkpoint."
    if "v2format_checkpoint" in planned:
        converted, grpo = e.config("v2format_checkpoint"), e.config("grpo_checkpoints")
        if converted.source == "grpo" and grpo.grpo_epochs == 0 and e.manifest("grpo_checkpoints") is None:
            yield "v2format_checkpoint.source is grpo, but GRPO_EPOCHS is 0; give it epochs or take rce."
