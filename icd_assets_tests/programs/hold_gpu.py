"""Holds a GPU until it is killed; prints ``held`` once it does."""

import time

from icd_assets.runtime.device import lease

with lease():
    print("held", flush=True)
    time.sleep(60)
