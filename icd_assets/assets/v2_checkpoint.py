"""v2_checkpoint: the supervised pointer selector, imported from the user or trained from beam data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icd_assets.assets import inputs
from icd_assets.assets.epochs import Epochs
from icd_assets.assets.figures import Markdown, Table, curve, meanings
from icd_assets.assets.step_run import Report, StepRun
from icd_assets.experiment.v2_source import importable_v2, require_one_head

if TYPE_CHECKING:
    from icd_assets.selector.encoder import ClipEncoder
    from icd_assets.selector.groups import PointerGroup


def show(facts: Mapping[str, Any]) -> dict[str, Markdown | Table]:
    """The picture and the kept epoch's numbers; an imported checkpoint has neither."""
    if "history" not in facts:
        return {}
    history = facts["history"]
    return {
        "curve": curve(history, ("train_loss", "val_loss")),
        "kept_epoch": meanings(history[facts["best_epoch"] - 1]),
    }


def v2_checkpoint(run: StepRun) -> Report:
    path = importable_v2(run.experiment)
    return _trained(run) if path is None else _imported(run, path)


def _imported(run: StepRun, path: Path) -> Report:
    """The user's file, verified tensor by tensor and recorded where it lies."""
    from icd_assets.selector.key_names import shape_facts
    from icd_assets.selector.v2_file import read_v2

    checkpoint = read_v2(path)
    encoder = inputs.encoder_of(run, checkpoint)
    return Report(
        files={path: path},
        facts={"encoder_digest": encoder.digest, **shape_facts(checkpoint.state, path)},
        origin="imported",
    )


def _trained(run: StepRun) -> Report:
    from icd_assets.selector.key_names import shape_facts
    from icd_assets.selector.sft import kept_epoch, train_sft
    from icd_assets.selector.training import copy_state
    from icd_assets.selector.v2_file import V2Checkpoint, write_v2

    config = run.config
    require_one_head(config.num_heads)  # in the UI nothing is asked before the first step
    encoder = inputs.catalog_encoder(run)
    epochs = Epochs(run, config.epochs, kept=kept_epoch)
    groups = _groups(run, encoder)
    result = train_sft(groups, config, device=run.device, resumed=epochs.resumed, on_epoch=epochs.finish)
    path = run.experiment.paths.v2_checkpoint
    state = copy_state(result.policy)
    write_v2(
        run.staging / "v2.ckpt",
        V2Checkpoint(state, encoder.state_dict(), result.best_epoch, run.spec.lineage()),
        hyper_parameters={
            "lr": config.lr,
            "weight_decay": config.weight_decay,
            "warm_steps": config.warmup_fraction,
        },
    )
    best = result.history[result.best_epoch]
    return Report(
        files={path: run.staging / "v2.ckpt"},
        facts={
            "encoder_digest": encoder.digest,
            "best_epoch": result.best_epoch + 1,
            "val_loss": best["val_loss"],
            "val_first_pick": best["val_first_pick"],
            **shape_facts(state, path),
            "history": result.history,
        },
    )


def _groups(run: StepRun, encoder: ClipEncoder) -> list[PointerGroup]:
    """One group per anchor: its beams as positions in its pool."""
    from icd_assets.pools.rows import all_rows
    from icd_assets.scoring.groups import groups_of_beams

    train, pools = run.experiment.data.train, inputs.train_pools(run)
    beams = inputs.beams(run, pools)
    rows = all_rows(pools)
    embeddings = encoder.encode([train[row] for row in rows], on_progress=run.on_progress)
    return groups_of_beams(beams, pools, dict(zip(rows, embeddings, strict=True)))
