"""What the numbers of artifacts count: the UI shows a name beside each, and the name alone does not always say."""

from __future__ import annotations

# By the first words of a number's name; None where the name says it, such as `epochs`.
_UNITS = {
    "CIDEr": "score",
    "accuracy": "share",
    "best_epoch": None,
    "candidates": "pointers",
    "choices_changed": "queries",
    "cider": "score",
    "compare_shots": None,
    "converted": "values",
    "embedding_dim": "dimensions",
    "encoder_tensors": None,
    "epoch": None,
    "epochs": None,
    "frac": "share",
    "headroom_not_seen": "share",
    "headroom_seen": "share",
    "hidden_dim": "dimensions",
    "highest_reward": "reward units",
    "kl_from_start": "nats",
    "largest_difference": "logits",
    "left_out": "questions",
    "lowest_reward": "reward units",
    "mean_before": "probability or score",
    "mean_best_label": "probability or score",
    "mean_best_score": "gain in probability",
    "mean_label": "probability or score",
    "mean_reward": "reward units",
    "not_finite": "values",
    "num_layers": None,
    "pool_size": "candidates",
    "prefixes": None,
    "prompts": None,
    "queries": None,
    "recommended_CIDEr": "score",
    "recommended_accuracy": "share",
    "rows": "queries",
    "sample_num": "questions",
    "seconds": None,
    "share_with": None,
    "tensors": None,
    "train_rows": "questions",
    "val_expected_reward": "reward units",
    "val_first_pick": "share of queries",
    "val_greedy_reward": "reward units",
    "val_loss": "nats",
    "validation_rows": "queries",
    "vlm_prompts": None,
    "width": "dimensions",
}


def is_known(name: str) -> bool:
    return _first_words(name) is not None


def with_unit(name: str) -> str:
    """The name that stands beside a number, with what it counts where the name alone does not say."""
    kind = _first_words(name)
    unit = None if kind is None else _UNITS[kind]
    return name if unit is None else f"{name} ({unit})"


def _first_words(name: str) -> str | None:
    return next((begin for begin in _UNITS if name == begin or name.startswith((f"{begin}_", f"{begin} "))), None)
