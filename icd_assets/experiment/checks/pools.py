"""Does every query find enough candidates, once its own picture is taken out?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from icd_assets.experiment.checks.look import Look
from icd_assets.runtime.finding import Finding


def pools(look: Look) -> Iterator[Finding]:
    """For the anchors and for the validation questions, as :mod:`icd_assets.pools.samplers` counts."""
    if "train" not in look.splits:
        return
    experiment, train = look.experiment, look.splits["train"]
    config = experiment.config("candidate_pools")
    on_image = Counter(train.image_ids.tolist())
    well = True
    if look.makes("candidate_pools"):
        for finding in _too_small(
            look, train.image_ids[look.anchor_rows].tolist(), on_image, own=1, split="train"
        ):
            well = False
            yield finding
    if well and look.makes("evaluation") and "validation" in look.splits:
        validation = look.splits["validation"]
        asked = validation.image_ids[look.asked_rows].tolist()
        for finding in _too_small(look, asked, on_image, own=0, split="validation"):
            well = False
            yield finding
    if well and look.makes("candidate_pools"):
        yield Finding("pools", "ok", f"every query finds {config.pool_size} candidates that show other pictures")


def _too_small(
    look: Look, asked: Sequence[object], on_image: Counter[object], *, own: int, split: str
) -> Iterator[Finding]:
    """``own``: rows that a query takes out of the train split if its picture does not."""
    config = look.experiment.config("candidate_pools")
    rows, size = len(look.splits["train"]), config.pool_size
    out = [own if config.allow_same_image else max(own, on_image[image]) for image in asked]
    left = [rows - taken for taken in out]
    short = [at for at, count in enumerate(left) if count < size]
    if not short:
        return
    worst = min(short, key=lambda at: left[at])
    items = look.splits["train" if split == "train" else "validation"]
    row = look.anchor_rows[worst] if split == "train" else look.asked_rows[worst]
    taken = out[worst]
    why = (
        f"{taken} of {rows} train questions are about its picture and are left out"
        if taken > 1
        else f"the train split has {rows} questions"
    )
    yield Finding(
        "pools",
        "problem",
        f"{len(short)} of {len(left)} {split} queries find fewer than {size} candidates: question_id "
        f"{items[row].question_id} finds {max(0, left[worst])}, for {why}",
        f"set shared.pool_size to {left[worst]}"
        if left[worst] >= max(2, look.experiment.settings.shared.shots)
        else "take a dataset with more pictures, or set candidate_pools.allow_same_image=true (a leak)",
    )
