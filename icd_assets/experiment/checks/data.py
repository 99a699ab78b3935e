"""The cell's dataset: the files of both splits parse, have the known sizes, and are enough for what is asked."""

from __future__ import annotations

from collections.abc import Iterator

from icd_assets.errors import UserError
from icd_assets.experiment.checks.look import Look
from icd_assets.runtime.finding import Finding

# Questions of the official files (SPEC B.3).
KNOWN_SIZES = {
    "okvqa": {"train": 9009, "validation": 5046},
    "vqav2": {"train": 443_757, "validation": 214_354},
    "aokvqa": {"train": 17_056, "validation": 1_145},
}


def dataset(look: Look) -> Iterator[Finding]:
    """The splits that the planned steps read."""
    experiment = look.experiment
    name, entry = experiment.cell.dataset, experiment.dataset
    unwritten = entry.prepare is not None and experiment.read_only
    if look.wanted_splits and unwritten:
        yield Finding("dataset", "ok", f"{name}: its files are written by the first run where they are missing")
    if entry.prepare is not None and not unwritten and look.wanted_splits:
        try:
            for split in look.wanted_splits:
                experiment.data.source_files(split)
        except UserError:
            look.note(f"writing the files of {name}")
    splits = look.splits
    for error in look.unreadable.values():
        if not unwritten:
            yield Finding("dataset", "problem", str(error))
    for split, items in splits.items():
        known = KNOWN_SIZES.get(name, {}).get(split)
        if known not in (None, len(items)):
            yield Finding(
                "dataset",
                "warning",
                f"{name} {split}: {len(items)} questions; the official files have {known}",
                "check that the files are complete",
            )
        else:
            yield Finding("dataset", "ok", f"{name} {split}: {len(items)} questions")
    if "train" in splits:
        yield from _anchors(look, len(splits["train"]))
    if "validation" in splits and experiment.config("evaluation").subset:
        yield Finding("dataset", "ok", f"the evaluation's subset lists {len(look.asked_rows)} questions to ask")


def _anchors(look: Look, rows: int) -> Iterator[Finding]:
    """Whether the anchors suffice to train on some and to validate on the rest."""
    experiment = look.experiment
    asked = experiment.dataset.sample_num
    if asked > rows:
        yield Finding(
            "dataset",
            "warning",
            f"sample_num is {asked}, but the train split has {rows} rows: all {rows} are taken",
        )
    count = min(asked, rows)
    trainings = {
        "v2_checkpoint": 1 - experiment.config("v2_checkpoint").val_fraction,
        "rce_checkpoints": experiment.config("rce_checkpoints").train_fraction,
        "grpo_checkpoints": experiment.config("grpo_checkpoints").train_fraction,
    }
    for step, fraction in trainings.items():
        own = step != "v2_checkpoint" and experiment.config("rl_data").path is not None
        if (
            look.makes("candidate_pools")
            and look.makes(step)
            and not own
            and not 0 < int(fraction * count) < count
        ):
            yield Finding(
                "dataset",
                "problem",
                f"{step} trains on the first {fraction:g} of the anchors and validates on the rest, and cannot "
                f"with {count}",
                "take a larger sample_num, or a dataset with more questions",
            )
            return
