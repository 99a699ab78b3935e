"""All checks of one cell in order, or a brief look at everything that the catalog names."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from icd_assets.errors import UserError
from icd_assets.experiment.catalog import Catalog
from icd_assets.experiment.cell import Cell
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.plan import Plan
from icd_assets.experiment.settings import Settings
from icd_assets.pools.config import SAMPLERS
from icd_assets.runtime.finding import Finding, findings
from icd_assets.store.store import Store
from icd_assets.upkeep.doctor import cost, data, leftovers, machine, models, recipe
from icd_assets.upkeep.doctor.places import place, room

# A photograph of COCO, and a question of usual length: where the dataset cannot be asked.
_IMAGE, _QUESTION = (640, 480), "What is the person in the middle of the picture holding?"


def check_results(root: Path, *, fix: bool) -> list[Finding]:
    """The results root and what killed runs left there."""
    store = Store(root)
    return [
        *findings("results", lambda: place("results", root)),
        *findings("artifacts", lambda: leftovers.leftovers(store, fix=fix)),
        *findings("answers", lambda: leftovers.answers(store)),
    ]


def check_cell(experiment: Experiment, to: str | None, *, fix: bool) -> list[Finding]:
    """From the data to the disk space; what cannot be looked at because of an earlier problem is left out.

    ``experiment`` is ``read_only``: nothing is written or downloaded for it.
    """
    seen = data.Seen()
    found = [
        *check_results(experiment.store.root, fix=fix),
        *findings("dataset", lambda: data.dataset(experiment, seen)),
        *findings("settings", lambda: recipe.settings(experiment, seen.rows)),
        *(packages := findings("packages", machine.packages)),
    ]
    if any(finding.level == "problem" for finding in packages):
        return found  # nothing of torch can be imported
    return found + _with_torch(experiment, to, seen)


def check_catalog(catalog: Catalog, root: Path) -> list[Finding]:
    """Which datasets and models are on this machine; none of them is needed unless a cell names it."""
    found = [*findings("packages", machine.packages), *findings("gpu", lambda: machine.devices(machine.gpus()))]
    model_name = next(iter(catalog.models))
    for name, dataset in catalog.datasets.items():
        cell = Cell(name, "RandSampler", model_name)
        experiment = Experiment(cell, Settings(), Store(root), catalog, read_only=True)
        try:
            for split in data.SPLITS:
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


def _with_torch(experiment: Experiment, to: str | None, seen: data.Seen) -> list[Finding]:
    gpus, digests = machine.gpus(), experiment.store.digests
    found = findings("gpu", lambda: machine.devices(gpus))
    model, of_model = experiment.model, models.vlm(experiment.model, digests)
    well = all(finding.level == "ok" for finding in of_model)
    ready = well or model.unsupported is not None or not model.backend.loads_weights
    of_encoder, clip = models.clip(experiment.encoder(experiment.dataset.encoder), digests)
    found += [*of_model, *of_encoder]
    ready = ready and clip is not None
    if (
        SAMPLERS[experiment.cell.sampler].needs_features
        and experiment.dataset.sampler_encoder != experiment.dataset.encoder
    ):
        of_sampler, sampler = models.clip(experiment.encoder(experiment.dataset.sampler_encoder), digests)
        found, ready = found + of_sampler, ready and sampler is not None
    planned: list[Plan] = []
    if ready:  # before that, a plan would download
        found += findings("plan", lambda: _planned(experiment, to, planned))
    steps = {name for plan in planned for name in plan.to_make}
    prompts = cost.prompts(experiment, steps, seen.rows) if len(seen.rows) == len(data.SPLITS) else {}
    if well:
        found += findings("memory", lambda: _memory(experiment, seen, gpus, sum(prompts.values())))
    found += findings("v2_checkpoint", lambda: recipe.v2_checkpoint(experiment, steps, prompts))
    found += findings("rl_data", lambda: recipe.rl_data(experiment, seen.rows))
    if clip is not None and len(seen.rows) == len(data.SPLITS):
        needed = cost.written(experiment, steps, seen.rows, clip.size, clip.width)
        found += findings("disk", lambda: room("disk", experiment.store.root, needed))
    return found


def _planned(experiment: Experiment, to: str | None, into: list[Plan]) -> Iterator[Finding]:
    plan = Plan.of(experiment, to=to)
    into.append(plan)
    yield recipe.plan_line(plan)
    plan.require_possible()


def _memory(experiment: Experiment, seen: data.Seen, gpus: list[machine.Gpu], asked: int) -> Iterator[Finding]:
    """With the longest question and the largest image of the sample in every place of the longest prompt."""
    model = experiment.model
    try:
        work = model.backend.workload(
            model.prompt,
            model.generation,
            shots=max(experiment.settings.shared.shots, *experiment.config("evaluation").all_shots),
            question=max(seen.questions, key=len, default=_QUESTION),
            image=max(seen.images, key=math.prod, default=_IMAGE),
        )
    except ValueError as error:
        yield Finding("memory", "warning", f"no estimate for {error}", "watch the first minutes of the run")
        return
    if work is not None:
        yield (
            machine.gpu_memory(model.name, work, gpus[0]) if gpus else machine.cpu_work(model.name, work, asked)
        )
