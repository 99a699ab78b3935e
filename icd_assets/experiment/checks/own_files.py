"""The user's own files, which settings name: the v2 checkpoint and the RL data are read through, strictly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from icd_assets.errors import UserError
from icd_assets.experiment.checks import cost
from icd_assets.experiment.checks.look import SPLITS, Look
from icd_assets.experiment.v2_source import importable_v2
from icd_assets.runtime.finding import Finding, in_bytes


def v2_checkpoint(look: Look) -> Iterator[Finding]:
    """Imported (and read through), there already, or trained, and what that costs."""
    experiment = look.experiment
    if not (look.thorough or look.makes("v2_checkpoint", "beam_data")):
        return
    path, manifest = importable_v2(experiment), experiment.manifest("v2_checkpoint")
    if path is not None:
        key = ["v2", experiment.store.digests.file(path), str(path)]
        yield from look.scans.findings(key, lambda: _imported(path))
        return
    if manifest is not None and not look.makes("v2_checkpoint"):
        text = f"there already, trained by run {manifest.run_id}"
    elif look.makes("beam_data") or experiment.manifest("beam_data") is None:
        whole = len(look.rows) == len(SPLITS)
        asked = cost.prompts(experiment, {"beam_data"}, look.rows) if whole else {}
        count = f" ({asked['beam_data']} scored prompts)" if asked else ""
        text = f"none to import: trained, after beam data is made{count}"
    else:
        text = "none to import: trained from the beam data that is there"
    yield Finding("v2_checkpoint", "ok", text)


def _imported(path: Path) -> Iterator[Finding]:
    from icd_assets.selector.key_names import infer_config
    from icd_assets.selector.v2_file import read_v2

    shape = infer_config(read_v2(path).state, path)
    size = in_bytes(path.stat().st_size)
    yield Finding(
        "v2_checkpoint", "ok", f"imported from {path} ({size}, D {shape.embedding_dim}, H {shape.hidden_dim})"
    )


def rl_data(look: Look) -> Iterator[Finding]:
    """The user's own RL data, under the reward that will be trained on."""
    experiment = look.experiment
    if not (look.thorough or look.makes("rl_data", "rce_checkpoints", "grpo_checkpoints")):
        return
    config, rce = experiment.config("rl_data"), experiment.config("rce_checkpoints")
    if config.path is None:
        yield Finding("rl_data", "ok", "generated (RL_DATA_PATH is not set)")
        return
    path = Path(config.path)
    if not path.is_file():
        raise UserError(f"RL_DATA_PATH={path} does not exist; fix or unset it.")
    train = look.splits.get("train")
    key: list[Any] = ["rl_data", experiment.store.digests.file(path), str(path), train.digest if train else None]
    key += [experiment.reward.model_dump(), rce.skip_fallback_reward, rce.require_positive_query]
    yield from look.scans.findings(key, lambda: _read_through(look, path))


def _read_through(look: Look, path: Path) -> Iterator[Finding]:
    from icd_assets.scoring.rl_data import require_same_questions
    from icd_assets.scoring.rl_file import read_rl_data
    from icd_assets.scoring.training_rows import training_rows

    experiment, train = look.experiment, look.splits.get("train")
    rce = experiment.config("rce_checkpoints")
    data = read_rl_data(path, n_rows=None if train is None else len(train))
    if train is not None:
        require_same_questions(path, data, train)
    usable = training_rows(
        data,
        experiment.reward,
        skip_fallback=rce.skip_fallback_reward,
        require_positive=rce.require_positive_query,
    )
    teaching = sum(len(set(row.rewards)) > 1 for row in usable)
    text = f"{path}: {len(data.queries)} queries, {len(usable)} usable, {teaching} with rewards that differ"
    if repairs := data.repairs():
        text = f"{text}; {repairs}"
    if teaching:
        yield Finding("rl_data", "ok", text)
    else:
        todo = "there is nothing to learn from it; generate RL data anew"
        yield Finding("rl_data", "problem", text, todo)
