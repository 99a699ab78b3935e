"""How each asset is made: one file each, no mathematics, and no Dagster.

A file holds one function of its asset's name: read inputs, call one library function, write to the staging folder,
report what was made. It may hold ``show``, which says what of its facts is worth a picture. What a step reads and
is made from stands in :mod:`icd_assets.experiment.steps`; all the rest is in :mod:`icd_assets.assets.build`, once.
"""
