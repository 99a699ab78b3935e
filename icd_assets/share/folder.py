"""A published folder: a selector's own two files, its card, its lineage and its evaluation, maybe signed."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from icd_assets.errors import UserError
from icd_assets.lineage.published import NAME as LINEAGE
from icd_assets.lineage.published import document_of
from icd_assets.share import card
from icd_assets.share.signature import require_key, sign
from icd_assets.share.trained import Trained

COMPARISON = "comparison.json"


def write_folder(
    folder: Path,
    trained: Trained,
    *,
    license: str | None = None,
    repo: str | None = None,
    data_repo: str | None = None,
    key: Path | None = None,
) -> None:
    """Fill ``folder``, which is there and empty. ``key`` signs it; the others are as in :func:`card.card`.

    A v2-format file is converted: the folder's selector chooses what the file's does.
    """
    if key is not None:
        require_key(key)
    _write_selector(folder, trained)
    experiment = trained.experiment
    shutil.copyfile(experiment.store.files(trained.evaluation)[0], folder / COMPARISON)
    lineage = json.dumps(document_of(trained.chains, experiment.store), indent=1)
    (folder / LINEAGE).write_text(lineage + "\n", encoding="utf-8")
    text = card.card(trained, license=license, repo=repo, data_repo=data_repo, signed=key is not None)
    (folder / card.NAME).write_text(text, encoding="utf-8")
    if key is not None:
        sign(folder, key)


def _write_selector(folder: Path, trained: Trained) -> None:
    """As it lies in the results, byte by byte; or converted."""
    files = trained.experiment.store.files(trained.manifest)
    if trained.asset != "v2format_checkpoint":
        for file in files:
            shutil.copyfile(file, folder / file.name)
        return
    from icd_assets.selector.selector_file import EncoderName, write_selector
    from icd_assets.selector.v2_file import read_v2
    from icd_assets.selector.v3_file import load_policy

    checkpoint, encoder = read_v2(files[0]), trained.sources[1]
    named = EncoderName(name=encoder.name, path=encoder.hub, revision=encoder.revision)
    write_selector(
        folder,
        load_policy(checkpoint.state, files[0]),
        stage=str(trained.manifest.facts["phase"]),
        encoder_digest=str(trained.experiment.fact("embeddings", "encoder_digest")),
        encoder=None if trained.encoder_is_theirs else named,
        lineage=checkpoint.lineage,
    )


def new_folder(target: Path, fill: Callable[[Path], None]) -> None:
    """``target`` with what ``fill`` writes, whole or not at all. Raises ``UserError`` if something is there."""
    if target.is_file() or target.is_symlink() or (target.is_dir() and any(target.iterdir())):
        raise UserError(f"{target} is there already, and nothing of yours is replaced; name a new folder.")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as place:
        made = Path(place) / target.name
        made.mkdir()
        fill(made)
        made.rename(target)
