"""Holds the lock PATH, ``alone`` or ``with a child``, until it is killed; prints ``held`` once it does."""

import multiprocessing
import sys
import time
from pathlib import Path

from icd_assets.runtime.locks import Holder, hold_one

path, how = sys.argv[1:]
with hold_one({"a": Path(path)}, Holder("rl_data of demo|RandSampler/tiny_vl", "1a2b3c4d-77")):
    if how == "with a child":
        multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,), daemon=True).start()
    print("held", flush=True)
    time.sleep(60)
