"""Reads the picture PATH; prints the most memory that the process had, in MiB."""

import resource
import sys
from pathlib import Path

from icd_assets.vlm.images import read_image

assert read_image(Path(sys.argv[1])).mode == "RGB"
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
