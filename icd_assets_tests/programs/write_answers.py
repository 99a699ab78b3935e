"""Writes 60 answers of its own, under NAME, and 60 that others write too into the store PATH."""

import sys
from pathlib import Path

from icd_assets.vlm.answer_store import AnswerStore
from icd_assets.vlm.backend import Likelihood

path, name = sys.argv[1:]
with AnswerStore(Path(path)) as store:
    for number in range(60):
        keys = (f"{name} {number}", f"shared {number}")
        store.add({key.encode(): Likelihood(-float(number), 1) for key in keys})
