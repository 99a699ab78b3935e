"""What a step that was killed had finished."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from icd_assets.errors import UserError
from icd_assets.store.journal import JOURNAL, Journal

SUFFIX = ".json"


def seeds() -> Iterable[bytes]:
    digest = hashlib.sha256(b"state").hexdigest()
    facts = {"history": [{"train_loss": 0.5, "val_loss": 0.25}]}
    yield json.dumps({"facts": facts, "files": {"state_epoch0.pt": digest}}).encode()


def read(path: Path) -> object:
    folder = path.with_name("staged")
    folder.mkdir(exist_ok=True)
    (folder / "state_epoch0.pt").write_bytes(b"state")
    (folder / JOURNAL).write_bytes(path.read_bytes())
    if (facts := Journal(folder).read()) is None:
        raise UserError("nothing is known to be finished")
    return facts
