"""What each recipe would ask of the cell's VLM to train its selectors: prompts at most, and what they compute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from icd_assets.errors import UserError
from icd_assets.experiment.checks.cost import prompts
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.recipes import STEPS_OF, Recipe, recipe_of, under_each
from icd_assets.experiment.steps import STEPS
from icd_assets.scoring.infoscore import prompts_by_shots
from icd_assets.vlm.prompt_tokens import tokens_per_demonstration
from icd_assets.vlm.weight_headers import count_numbers
from icd_assets.vlm.weights import locate

_TEXT = 60  # characters of a question with its answer, as in VQAv2 and OK-VQA
_TERA = 1e12


@dataclass(frozen=True)
class RecipeCost:
    """Distinct prompts that a recipe's labels need at most, by step; ``tflop`` is None where another machine, or
    one not known yet, computes them."""

    recipe: Recipe
    chosen: bool  # what the cell's settings mean
    prompts: Mapping[str, int]
    tflop: float | None

    @property
    def total(self) -> int:
        return sum(self.prompts.values())


def recipe_costs(experiment: Experiment, rows: Mapping[str, int]) -> list[RecipeCost]:
    """Of every recipe, with the settings as they are. ``rows``: questions per split. The evaluation is not in it:
    it costs the same after each."""
    per_token, per_demonstration = _of_model(experiment)
    found = []
    for recipe, one in under_each(experiment):
        steps = [step for step in STEPS if step.name in STEPS_OF[recipe] and step.left_out(one) is None]
        asked = {name: count for name, count in prompts(one, [s.name for s in steps], rows).items() if count}
        asked.pop("evaluation", None)
        tokens = sum(count * _demonstrations(one, name) for name, count in asked.items()) * per_demonstration
        tflop = None if per_token is None else tokens * per_token / _TERA
        found.append(RecipeCost(recipe, recipe == recipe_of(experiment), asked, tflop))
    return found


def _demonstrations(e: Experiment, asset: str) -> float:
    """Pictures of one prompt in the mean: demonstrations, and the query itself."""
    shots = e.settings.shared.shots
    match asset:
        case "single_labels":
            return 2.0
        case "step_labels":  # after 1 to so many picks, and one more
            return 2.0 + (1 + int(e.config(asset).longest)) / 2
        case "beam_data":
            asked = prompts_by_shots(e.settings.shared.pool_size, e.config(asset))
            return 1 + sum(shown * count for shown, count in asked.items()) / sum(asked.values())
        case _:
            return 1.0 + shots


def _of_model(e: Experiment) -> tuple[float | None, int]:
    """(operations per token, tokens per demonstration): two for each weight, as one multiplies and adds."""
    if not e.model.backend.loads_weights:
        return None, 0
    try:
        folder: Path = locate(e.model.source, getattr(e.model.backend, "revision", None), fetch=False)
        weights = count_numbers(folder)
    except (UserError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return None, 0  # not here yet, or not whole: the checks say so
    return (None if weights is None else 2.0 * weights), tokens_per_demonstration(folder, _TEXT)
