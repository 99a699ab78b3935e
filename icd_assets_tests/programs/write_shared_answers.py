"""Adds 300 answers of its own, under NAME, and 300 that others add too, to the store that ICD_ANSWERS names, in
an order that NAME gives. Waits for a line, prints ``created`` when the table is there, and waits for another."""

import random
import sys
from pathlib import Path

from icd_assets.vlm.answers import open_answers
from icd_assets.vlm.backend import Likelihood

name = sys.argv[1]
sys.stdin.readline()
with open_answers(Path("answers.sqlite")) as store:
    print("created", flush=True)
    sys.stdin.readline()
    numbers = list(range(300))
    random.Random(name).shuffle(numbers)
    for start in range(0, 300, 50):
        keys = [f"{who} {number}" for number in numbers[start : start + 50] for who in (name, "shared")]
        store.add({key.encode(): Likelihood(-float(key.split()[1]), 1) for key in keys})
