"""``python -m icd_assets.cli`` is ``icd-assets``."""

from icd_assets.cli import main

main()
