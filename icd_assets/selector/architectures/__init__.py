"""Pointer selectors of one interface, one small file each; ``icd_assets.selector.model`` builds them by name."""
