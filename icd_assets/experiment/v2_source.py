"""Whether a cell has a v2 checkpoint of the user's own, and which (SPEC A.3, without its lottery)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from icd_assets.errors import UserError
from icd_assets.store.names import manifest_beside

if TYPE_CHECKING:
    from icd_assets.experiment.experiment import Experiment
    from icd_assets.store.store import Store


def importable_v2(experiment: Experiment) -> Path | None:
    """The user's own v2 checkpoint, or None if one is to be trained."""
    config = experiment.config("v2_checkpoint")
    if config.source == "train":
        return None
    if config.checkpoint is not None:
        path = Path(config.checkpoint)
        if not path.is_file():
            raise UserError(f"LEVER_LM_CHECKPOINT_PATH={path} does not exist; fix or unset it.")
        return path.absolute()
    found = _adopted(experiment) or _lying_there(experiment)
    if found is None and config.source == "import":
        raise UserError(f"{experiment.paths.v2_folder} holds no v2 checkpoint of this cell to import.")
    return found


def layers_inside(path: Path) -> int:
    """Attention layers of the selector in a v2 checkpoint."""
    from icd_assets.selector.key_names import infer_config
    from icd_assets.selector.v2_file import read_v2

    return infer_config(read_v2(path).state, path).num_layers


def require_one_head(num_heads: int) -> None:
    """Raise ``UserError`` for a selector that would be trained with more heads than its readers take."""
    if num_heads != 1:
        raise UserError(
            f"v2_checkpoint.num_heads is {num_heads}, but no checkpoint says so and every reader takes 1; "
            "set it to 1."
        )


def has_own_v2(experiment: Experiment) -> bool:
    """Whether nothing trains a v2 checkpoint: beam data are then of no use."""
    return importable_v2(experiment) is not None


def beams_left_out(experiment: Experiment) -> str | None:
    """Why beam data are of no use, where they are not."""
    why = "only the training of a v2 checkpoint reads them, and this cell's is your own"
    return why if has_own_v2(experiment) else None


def v2_is_there(experiment: Experiment) -> bool:
    """Whether the results hold a v2 checkpoint of this cell, whoever made it, or beams that one would be trained
    from. Only the disk is asked, no setting of a step's, so that every step sees the same."""
    paths = experiment.paths
    if any(experiment.manifest_path(asset).exists() for asset in ("v2_checkpoint", "beam_data")):
        return True
    names = (path.name for path in paths.v2_folder.glob(f"*{experiment.cell.sampler}*.ckpt"))
    return paths.v2_checkpoint.is_file() or any(experiment.model.safe_name in name for name in names)


def _adopted(experiment: Experiment) -> Path | None:
    """The checkpoint that was adopted, whatever else lies beside it."""
    manifest = experiment.manifest("v2_checkpoint")
    if manifest is None or manifest.origin != "adopted":
        return None
    chosen = experiment.store.resolve(manifest.files[0])
    return chosen if chosen.is_file() else None


def _lying_there(experiment: Experiment) -> Path | None:
    """The one checkpoint of this cell in upstream's folder that we did not train ourselves."""
    store, paths = experiment.store, experiment.paths
    manifest = experiment.manifest("v2_checkpoint")
    ours = {store.resolve(file) for file in manifest.files} if manifest and manifest.origin == "made" else set()
    if paths.v2_checkpoint.is_file() and paths.v2_checkpoint not in ours:
        return paths.v2_checkpoint
    found = [
        path
        for path in sorted(paths.v2_folder.glob(f"*{experiment.cell.sampler}*.ckpt"))
        if path not in ours and experiment.model.safe_name in path.name and not _made_here(store, path)
    ]
    if len(found) > 1:
        names = ", ".join(path.name for path in found[:4])
        raise UserError(
            f"{paths.v2_folder} holds {len(found)} v2 checkpoints of this cell ({names}); "
            "name one with LEVER_LM_CHECKPOINT_PATH."
        )
    return found[0] if found else None


def _made_here(store: Store, path: Path) -> bool:
    """Whether we trained it ourselves, under other settings."""
    manifest = store.read(manifest_beside(path))
    return manifest is not None and manifest.origin == "made"
