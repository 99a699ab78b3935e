"""Dagster assets for training selectors of in-context demonstrations (ICDs) for vision-language models.

From Python: :func:`open_cell` names a cell, :class:`Plan` says what is missing of it, :func:`build` makes it.
:class:`Selector` chooses demonstrations with what was trained, of :class:`Shot` and the like, out of candidates or
of a :class:`Library`; :func:`chat` puts them into a prompt. :class:`UserError` is what the user can fix.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["Library", "Plan", "Run", "Selector", "Shot", "UserError", "build", "chat", "open_cell"]

if TYPE_CHECKING:
    from icd_assets.assets.build import Run, build
    from icd_assets.errors import UserError
    from icd_assets.experiment.open_cell import open_cell
    from icd_assets.experiment.plan import Plan
    from icd_assets.use.chat import chat
    from icd_assets.use.selector import Library, Selector
    from icd_assets.vlm.prompts import Shot

_MODULES = {
    "Plan": "icd_assets.experiment.plan",
    "Run": "icd_assets.assets.build",
    "build": "icd_assets.assets.build",
    "Library": "icd_assets.use.selector",
    "Selector": "icd_assets.use.selector",
    "Shot": "icd_assets.vlm.prompts",
    "UserError": "icd_assets.errors",
    "chat": "icd_assets.use.chat",
    "open_cell": "icd_assets.experiment.open_cell",
}


def __getattr__(name: str) -> object:
    """What ``__all__`` names, imported when it is first asked for: every process of ours imports this package."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
