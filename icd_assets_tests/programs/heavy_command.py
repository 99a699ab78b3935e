"""``icd-assets WORD …``; the last line of its stderr is which heavy libraries it loaded, as JSON."""

import sys

from icd_assets.cli import main
from icd_assets_tests.programs.heavy_imports import loaded

try:
    main()
finally:
    print(loaded(), file=sys.stderr)
