"""Reads the image PATH; any warning is an error."""

import sys
import warnings
from pathlib import Path

warnings.simplefilter("error")

from icd_assets.vlm.images import read_image  # noqa: E402

read_image(Path(sys.argv[1]))
