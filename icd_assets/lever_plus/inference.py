"""Which checkpoint Lever-Plus' inference.sh takes for a cell when it is given none (SPEC A.3)."""

from __future__ import annotations

import locale
from pathlib import Path

from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.paths import v3_prefix
from icd_assets.selector.epoch_to_convert import v2format_of


def taken_by_inference(experiment: Experiment) -> Path | None:
    """``inference.sh … v3`` looks into ``v3_<sampler>_<model>`` alone, whatever else may follow: for the newest
    ``grpo_epoch*.pt``, else ``rce_epoch*.pt``, else any ``.pt``, and beside that for its ``_v2format.ckpt``.

    That one, or, where there is none, the ``.pt``, which it would convert by itself; None if there is nothing.
    """
    folder = experiment.store.root / experiment.cell.dataset / "model_cpk" / v3_prefix(experiment.cell)
    for pattern in ("grpo_epoch*.pt", "rce_epoch*.pt", "*.pt"):
        if found := sorted(folder.glob(pattern), key=lambda path: (-_modified(path), locale.strxfrm(path.name))):
            converted = v2format_of(found[0])
            return converted if converted.is_file() else found[0]
    return None


def found_instead(taken: Path | None, recommended: Path) -> str | None:
    """What is to be said where inference.sh takes another file than the one recommended."""
    if taken == recommended:
        return None
    if taken is None:
        return "inference.sh finds none of this cell by itself"
    where = f"{taken.parent.name}/{taken.name}"
    converts = " and converts it, with random attention" if taken.suffix == ".pt" else ""
    return f"inference.sh takes {where}{converts}"


def _modified(path: Path) -> int:
    """As ``ls -t`` sorts: a link by its own time."""
    return path.lstat().st_mtime_ns
