"""What a step needs of the environment where it is placed: the settings and places of whoever placed it."""

from __future__ import annotations

import os
from collections.abc import Iterator

from icd_assets.experiment.misspelt_variables import known_variables

# A cluster's pages show the variables of its jobs; these are the web server's, and this machine's.
_NOT_SENT = {"ICD_SERVE_TOKEN", "ICD_UI_BEHIND_PROXY", "ICD_UI_HOSTS", "ICD_UI_TOKEN", "ICD_LOCK_DIR"}


def step_variables() -> Iterator[str]:
    """``NAME=value`` of every variable that is set and is ours; keys of served models are not among them."""
    for name in sorted(known_variables(os.environ) - _NOT_SENT):
        if value := os.environ.get(name):
            yield f"{name}={value}"
