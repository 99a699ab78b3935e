"""Recipes: which steps a cell has, from the cheapest labels to Lever-Plus' whole chain.

``singles``: one selector, trained on a label for each single candidate. ``sequences``: another, trained on labels
of what comes after its first picks too. ``rl``: goes on with rewards on queries that no selector was fitted to.
``beams``: Lever-Plus' (beam search, a v2 checkpoint, RCE, GRPO), whose files its own inference reads.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from icd_assets.errors import UserError
from icd_assets.experiment.v2_source import v2_is_there

if TYPE_CHECKING:
    from icd_assets.experiment.experiment import Experiment
    from icd_assets.experiment.settings import Settings

Recipe = Literal["singles", "sequences", "rl", "beams"]
RecipeChoice = Literal["auto", "singles", "sequences", "rl", "beams"]
DEFAULT_RECIPE: Recipe = "sequences"
RECIPES: tuple[Recipe, ...] = ("singles", "sequences", "rl", "beams")

# The selector that each recipe of dense labels trains last; its stages are those up to it.
STAGES: dict[str, str] = {"singles_selector": "singles", "sequence_selector": "sequences", "rl_selector": "RL"}
_DENSE = (
    "candidate_pools",
    "embeddings",
    "single_labels",
    "singles_selector",
    "v2format_checkpoint",
    "evaluation",
)
_SEQUENCES = (*_DENSE, "step_labels", "sequence_selector")
STEPS_OF: Mapping[Recipe, frozenset[str]] = {
    "singles": frozenset(_DENSE),
    "sequences": frozenset(_SEQUENCES),
    "rl": frozenset((*_SEQUENCES, "rl_queries", "rl_data", "rl_selector")),
    "beams": frozenset(
        (
            *("candidate_pools", "beam_data", "v2_checkpoint", "embeddings", "rl_queries", "rl_data"),
            *("rce_checkpoints", "grpo_checkpoints", "v2format_checkpoint", "evaluation"),
        )
    ),
}
# Steps whose settings mean Lever-Plus' chain, and a field of another that does.
_LEVER_PLUS = ("beam_data", "v2_checkpoint", "rce_checkpoints", "grpo_checkpoints", "v2format_checkpoint")


def recipe_of(experiment: Experiment) -> Recipe:
    """The cell's recipe. ``auto``: that of what is on disk, so that nothing there is left behind."""
    chosen = experiment.settings.shared.recipe
    if chosen != "auto":
        return chosen
    return "beams" if v2_is_there(experiment) else _begun(experiment)


def _begun(experiment: Experiment) -> Recipe:
    """Of a cell without a v2 checkpoint: what its folder came to, else the default."""
    try:
        if experiment.manifest("rl_selector") is not None:
            return "rl"
        evaluated = experiment.manifest("evaluation")
    except UserError:  # of a reward or a name that is none, or a broken manifest: its own step says so
        return DEFAULT_RECIPE
    given = evaluated.spec.inputs if evaluated is not None else {}
    return "singles" if "singles_selector" in given and "sequence_selector" not in given else DEFAULT_RECIPE


def own_rl_rows(experiment: Experiment) -> bool:
    """Whether RL data are of queries of their own, not of the anchors."""
    rows = experiment.settings.shared.rl_rows
    return recipe_of(experiment) == "rl" if rows == "auto" else rows == "own"


def one_shot(experiment: Experiment) -> str | None:
    """Why there are no sequences, where there are none."""
    return (
        "one demonstration is all that is picked (shared.shots=1)"
        if experiment.settings.shared.shots == 1
        else None
    )


def no_v2_format(experiment: Experiment) -> str | None:
    """Why Lever-Plus' inference cannot read what the recipe trains, where it cannot."""
    architecture = experiment.settings.shared.architecture
    if recipe_of(experiment) == "beams" or architecture == "v2":
        return None
    return (
        f"the v2 format cannot hold a selector of the architecture {architecture}; --architecture v2 exports, and "
        "so does --recipe beams"
    )


def stages(experiment: Experiment) -> tuple[str, ...]:
    """The assets of the selectors that a recipe of dense labels trains, in order; none of ``beams``."""
    steps = STEPS_OF[recipe_of(experiment)]
    skipped = "sequence_selector" if one_shot(experiment) else ""
    return tuple(asset for asset in STAGES if asset in steps and asset != skipped)


def last_trained(experiment: Experiment) -> str | None:
    """The asset of the last selector that is there, of those that a recipe of dense labels trains."""
    there = (asset for asset in reversed(stages(experiment)) if experiment.manifest(asset) is not None)
    return next(there, None)


def stage_name(asset: str, architecture: str) -> str:
    """As tables call a selector: ``coverage (sequences)``."""
    return f"{architecture} ({STAGES[asset]})"


class Implied(NamedTuple):
    """A recipe that nobody named, and why it is meant."""

    recipe: Recipe
    because: str


def implied(settings: Settings, to: str | None = None, force: Collection[str] = ()) -> Implied | None:
    """The recipe that other settings or the asset asked for mean, where none is named."""
    if settings.shared.recipe != "auto":
        return None
    for section in _LEVER_PLUS:
        for field, value in settings.explicit.get(section, {}).items():
            if value is not None:
                return Implied("beams", f"{section}.{field} is set, and only beams have {section}")
    if settings.explicit.get("rl_data", {}).get("path") is not None:
        return Implied("beams", "rl_data.path is set")
    for asset in (*([to] if to is not None else []), *force):
        having = [recipe for recipe in RECIPES if asset in STEPS_OF[recipe]]
        if asset in _LEVER_PLUS[1:4] or (having and DEFAULT_RECIPE not in having and asset != "beam_data"):
            return Implied(having[0], f"{asset} is asked for")
    return None


def with_implied(settings: Settings, to: str | None = None, force: Collection[str] = ()) -> Settings:
    """The settings with the recipe that they imply, if any."""
    found = implied(settings, to, force)
    return settings if found is None else with_recipe(settings, found.recipe)


def with_recipe(settings: Settings, recipe: Recipe) -> Settings:
    return settings.model_copy(update={"shared": settings.shared.model_copy(update={"recipe": recipe})})


def under_each(experiment: Experiment) -> Iterator[tuple[Recipe, Experiment]]:
    """The cell under every recipe, all else as it is."""
    for recipe in RECIPES:
        yield recipe, replace(experiment, settings=with_recipe(experiment.settings, recipe))


def as_made(manifests: Mapping[str, Any]) -> RecipeChoice:
    """The recipe of an experiment, from the assets behind its last one."""
    if any(asset in manifests for asset in ("v2_checkpoint", "beam_data", "rce_checkpoints")):
        return "beams"
    for asset, recipe in (("rl_data", "rl"), ("step_labels", "sequences"), ("singles_selector", "singles")):
        if asset in manifests:
            return recipe  # type: ignore[return-value]
    return "auto"
