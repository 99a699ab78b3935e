"""All checks of one cell, and what only a doctor looks at: leftovers, GPUs, memory, the model's first answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from icd_assets.errors import UserError
from icd_assets.experiment.catalog import Catalog
from icd_assets.experiment.cell import Cell
from icd_assets.experiment.checks import Look, check, cost, models
from icd_assets.experiment.checks.look import SPLITS
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.plan import Plan, Planned
from icd_assets.experiment.settings import Settings
from icd_assets.experiment.steps import STEPS
from icd_assets.runtime.finding import Finding, findings
from icd_assets.store.store import Store
from icd_assets.upkeep.doctor import leftovers, machine, outliers, smoke


def check_results(root: Path, *, fix: bool) -> list[Finding]:
    """What killed runs left under the results root, and the answers that were paid for."""
    store = Store(root)
    return [
        *findings("artifacts", lambda: leftovers.leftovers(store, fix=fix)),
        *findings("answers", lambda: leftovers.answers(store)),
    ]


def check_cell(experiment: Experiment, to: str | None, *, fix: bool, ask: bool | None = None) -> list[Finding]:
    """What can be looked at; ``experiment`` is ``read_only``: nothing is written or downloaded for it.

    ``ask`` the model a few questions, whose answers are kept; None: if that is a matter of seconds.
    """
    found = check_results(experiment.store.root, fix=fix)
    packages = findings("packages", machine.packages)
    found += packages
    if any(finding.level == "problem" for finding in packages):
        return found  # nothing of torch can be imported
    gpus = machine.gpus()
    found += findings("gpu", lambda: machine.devices(gpus))
    planned: list[Plan] = []

    def make_plan() -> Iterator[Finding]:
        planned.append(Plan.of(experiment, to=to))
        yield from ()  # the list of checks says what it is

    found += findings("plan", make_plan)
    found += findings("headroom", lambda: _headroom(experiment))
    look = Look(planned[0] if planned else _everything(experiment), thorough=True)
    checked = list(check(look))
    found += checked
    bad = {finding.subject for finding in checked if finding.level == "problem"}
    if bad & {"model", "dataset"}:
        return found
    estimate: list[outliers.Estimate] = []
    found += findings("memory", lambda: _memory(look, gpus, estimate))
    parameters = estimate[0].median.sizes.parameters if estimate else None
    if smoke.possible(look) and not bad & {"images", "texts"}:
        if ask or (ask is None and smoke.is_cheap(parameters)):
            found += findings("smoke", lambda: smoke.smoke(look))
        elif ask is None:
            text = f"not asked: icd-assets doctor --smoke asks the model {smoke.QUESTIONS} questions"
            found.append(Finding("smoke", "ok", text))
    return found


def _headroom(experiment: Experiment) -> Iterator[Finding]:
    """What rl_data's facts say can be won; RL data made before they had such a fact say nothing."""
    manifest = experiment.manifest("rl_data")
    for kind in ("seen", "not_seen"):
        if manifest is not None and (text := manifest.facts.get(f"headroom_{kind}")) is not None:
            yield Finding("headroom", "ok", str(text))


def _everything(experiment: Experiment) -> Plan:
    """The steps of a cell whose state is not known, as if none of them were made."""
    return Plan(experiment, tuple(Planned(step, "unknown", None) for step in STEPS if not step.on_request))


def check_catalog(catalog: Catalog, root: Path) -> list[Finding]:
    """Which datasets and models are on this machine; none of them is needed unless a cell names it."""
    found = [*findings("packages", machine.packages), *findings("gpu", lambda: machine.devices(machine.gpus()))]
    model_name = next(iter(catalog.models))
    for name, dataset in catalog.datasets.items():
        cell = Cell(name, "RandSampler", model_name)
        experiment = Experiment(cell, Settings(), Store(root), catalog, read_only=True)
        try:
            for split in SPLITS:
                experiment.data.source_files(split)
            found.append(Finding("dataset", "ok", f"{name}: its files are there"))
        except UserError as error:
            if dataset.prepare is not None:
                found.append(Finding("dataset", "ok", f"{name}: written by the first run"))
            else:
                found.append(Finding("dataset", "warning", str(error)))
    for model in catalog.models.values():
        if model.unsupported is None:
            found += _at_a_glance("model", partial(model.backend.glance, model.name))
    for encoder in catalog.encoders.values():
        found += _at_a_glance("encoder", partial(models.glance, encoder))
    return found


def _at_a_glance(subject: str, glance: Callable[[], Finding | None]) -> list[Finding]:
    """No problem: nothing of it is needed yet."""
    try:
        finding = glance()
    except UserError as error:
        finding = Finding(subject, "problem", str(error))
    if finding is None:
        return []
    return [replace(finding, level="warning") if finding.level == "problem" else finding]


def _memory(look: Look, gpus: list[machine.Gpu], into: list[outliers.Estimate]) -> Iterator[Finding]:
    """A batch of usual prompts, and apart from it the one largest prompt that the data can make."""
    experiment = look.experiment
    if experiment.model.unsupported is not None:
        return
    try:
        estimate = outliers.estimate(look)
    except ValueError as error:
        yield Finding("memory", "warning", f"no estimate for {error}", "watch the first minutes of the run")
        return
    if estimate is None:
        return
    into.append(estimate)
    whole = len(look.rows) == len(SPLITS)
    asked = sum(cost.prompts(experiment, look.plan.to_make, look.rows).values()) if whole else 0
    name, (width, height) = experiment.model.name, estimate.largest
    if not gpus:
        yield machine.cpu_work(name, estimate.usual, asked, estimate.median)
        return
    yield machine.gpu_memory(name, estimate.usual, gpus[0])
    if estimate.has_outlier:
        what = f"a picture of {width}×{height}, a question of {estimate.longest} characters"
        yield machine.gpu_outlier(name, estimate.worst, gpus[0], what)
