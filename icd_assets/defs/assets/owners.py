"""Who is asked about the assets, as Dagster's UI names them: ``ICD_OWNERS=ada@lab.org,team:vision``."""

from __future__ import annotations

import re
from collections.abc import Mapping

from icd_assets.errors import UserError

# As Dagster checks them, whose own error is a traceback per asset.
_OWNER = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,7}|team:\S.*")


def owners(environ: Mapping[str, str]) -> list[str]:
    """In the order given, each once."""
    words = [word.strip() for word in environ.get("ICD_OWNERS", "").split(",")]
    for word in words:
        if word and _OWNER.fullmatch(word) is None:
            raise UserError(
                f"ICD_OWNERS: {word[:80]!r} is neither an e-mail address nor team:NAME; write them with commas "
                "between them, as ada@lab.org,team:vision."
            )
    return [word for word in dict.fromkeys(words) if word]
