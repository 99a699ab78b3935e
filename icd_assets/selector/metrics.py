"""What each logged number of a training epoch means. Without a note, it is the mean over the epoch's updates."""

from __future__ import annotations

METRICS = {
    "train_loss": "SFT: cross-entropy per pick, with dropout and beam weights; a selector's training: its loss.",
    "val_first_pick": "SFT: share of held-out queries whose greedy first pick opens one of their beams.",
    "rce_loss": "RCE: weighted negative log-likelihood of a query's pointers, at the update's temperature.",
    "temperature": "RCE: reward temperature of the epoch's last update.",
    "grpo_loss": "GRPO: the loss that was minimized, ppo_loss + kl_loss − entropy_bonus·entropy.",
    "ppo_loss": "GRPO: clipped policy-gradient loss.",
    "kl": "GRPO: divergence from the reference policy, in nats per pointer, of the configured kind.",
    "kl_loss": "GRPO: the KL weight of the update times kl.",
    "kl_beta": "GRPO: KL weight after the epoch's last update.",
    "mean_ratio": "GRPO: probability ratio of policy and old policy.",
    "clip_fraction": "GRPO: share of ratios whose gradient was clipped away.",
    "entropy": "GRPO: entropy of the picks at the stored pointers' prefixes, in nats per pointer.",
    "mean_advantage": "GRPO: mean advantage of the pointers that count.",
    "std_advantage": "GRPO: standard deviation of the advantages, unbiased.",
    "max_advantage": "GRPO: largest absolute advantage, mean over updates.",
    "grad_norm": "Norm of the gradient before clipping.",
    "frac_reward_zero_std": "Share of training queries whose pointers all earned the same reward.",
    "val_loss": "Held-out queries. SFT: cross-entropy per pick; a selector's training: its loss without "
    "dropout; else upstream's RCE loss at τ = 1, raw reward.",
    "val_expected_reward": "Held-out queries: expected raw reward under the policy, among their stored pointers; "
    "a selector's training: expected label or reward, weighted as the loss is.",
    "val_greedy_reward": "Held-out queries: the same for the policy's most probable choice.",
}
