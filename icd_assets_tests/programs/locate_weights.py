"""Prints the folder of org/name at REVISION in the hub's cache."""

import sys

from icd_assets.vlm.weights import locate

print(locate("org/name", sys.argv[1]))
