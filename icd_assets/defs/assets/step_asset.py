"""How a step of the table becomes an asset of Dagster's."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import dagster as dg
from pydantic import Field, create_model

from icd_assets.assets.build import Run, build
from icd_assets.defs.assets.forms import given, unset_fields
from icd_assets.defs.assets.metadata import metadata
from icd_assets.defs.assets.owners import owners
from icd_assets.defs.assets.partitions import partitions
from icd_assets.defs.assets.resources import Asked, RewardResource, SharedResource, asked
from icd_assets.defs.runs.known_cells import add_cells
from icd_assets.defs.runs.step_process import enter_home_of_run, enter_process
from icd_assets.errors import MissingInput, UserError
from icd_assets.experiment.catalog import Catalog
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.recipes import with_implied
from icd_assets.experiment.step import Step
from icd_assets.experiment.steps import own_fields
from icd_assets.runtime import machine_errors
from icd_assets.runtime.home import load_env_file
from icd_assets.store.manifest import Manifest
from icd_assets.store.store import Store

enter_home_of_run()
load_env_file()  # before the catalog, whose paths it may move
CATALOG = Catalog.load()
OWNERS = owners(os.environ)

GRPO_RECIPE, GRPO_EPOCHS = "grpo_recipe", 3  # the job, and its epochs where neither the user nor the cell says

# For limits by tag; what a step needs of a cluster is known in a run only: icd_assets/defs/executors/needs.py.
GPU_OP_TAGS = {"icd/gpu": "1"}


def step_asset(step: Step) -> dg.AssetsDefinition:
    """One asset, partitioned by cell."""

    def compute(context: Any, config: Any, shared: Any, reward: Any) -> Any:
        enter_process(context)
        run_id = context.run.run_id
        run = Run(run_id, context.log.info, lambda metrics: _observe(context, step.name, metrics))
        with failing_in_words(shared.store, context.partition_key):
            experiment, origin = asked_in(context.run, step, context.partition_key, config, shared, reward)
            add_cells(context.instance, [experiment.cell.key])
            if origin is not None:
                context.log.info(f"{step.name}: settings {origin}")
            if nothing_to_do(step, experiment, config, context.run):
                return _nothing(step, experiment, origin)
            manifest, skipped = build(experiment, step.name, run, force=config.force)
            return _result(step, experiment, manifest, origin, skipped=skipped)

    # Dagster reads the signature's types; the config type is known only now.
    compute.__annotations__ = {
        "context": dg.AssetExecutionContext,
        "config": launchpad_form(step),
        "shared": SharedResource,
        "reward": RewardResource,
        "return": dg.MaterializeResult,
    }
    return dg.asset(
        name=step.name,
        partitions_def=partitions,
        deps=list(step.parents),
        description=step.description,
        code_version=step.code_version,
        kinds={step.kind},
        pool="gpu" if step.gpu else None,
        op_tags=GPU_OP_TAGS if step.gpu else None,
        tags={"icd/gpu": "required"} if step.gpu else None,
        automation_condition=_when_data_changed(),
        group_name="icd",
        owners=OWNERS,
    )(compute)


def launchpad_form(step: Step) -> type[dg.Config]:
    """The step's settings as a Launchpad form: the library's fields, less the shared ones, and ``force``."""
    fields: dict[str, Any] = {"force": (bool, Field(False, description="Make it again even if it is up to date."))}
    fields |= unset_fields(step.config, own_fields(step), step.catalog_fields)
    config: type[dg.Config] = create_model(f"{step.name}_config", __base__=dg.Config, **fields)
    return config


def asked_in(
    run: dg.DagsterRun, step: Step, partition_key: str, config: Any, shared: SharedResource, reward: RewardResource
) -> Asked:
    """What a run asks one step for. Raises ``UserError`` as :func:`~icd_assets.defs.assets.resources.asked`."""
    explicit = given(config, own_fields(step))
    experiment, origin = asked(partition_key, shared, reward, {step.name: explicit}, run.run_id)
    if _lacks_epochs(step, experiment, explicit, run):
        explicit["grpo_epochs"] = GRPO_EPOCHS
        experiment, origin = asked(partition_key, shared, reward, {step.name: explicit}, run.run_id)
    if _alone(step, run):  # as the command's --to: who names an asset means a recipe that has it
        experiment = replace(experiment, settings=with_implied(experiment.settings, step.name))
    return Asked(experiment, origin)


def _lacks_epochs(step: Step, experiment: Experiment, explicit: dict[str, Any], run: dg.DagsterRun) -> bool:
    """Whether the job that is about GRPO runs a cell that was made without, and says no number of epochs."""
    of_the_job = run.job_name == GRPO_RECIPE and step.name == "grpo_checkpoints"
    return of_the_job and "grpo_epochs" not in explicit and step.left_out(experiment) is not None


def _alone(step: Step, run: dg.DagsterRun) -> bool:
    """Whether the run was asked for this asset and no other."""
    return run.asset_selection == {dg.AssetKey(step.name)}


def nothing_to_do(step: Step, experiment: Experiment, config: Any, run: dg.DagsterRun) -> bool:
    """Whether the cell's recipe has no such step, and nobody asked for it by name."""
    asked_for = config.force or (step.on_request and _alone(step, run))
    return not asked_for and step.left_out(experiment) is not None


def _nothing(step: Step, experiment: Experiment, origin: str | None) -> dg.MaterializeResult[Any]:
    """To make nothing is no failure, and what is there stays: the steps after this one go on."""
    why = f"nothing to do: {step.left_out(experiment)}"
    if (there := experiment.manifest(step.name)) is not None:
        return _result(step, experiment, there, origin, skipped=True, note=why)
    return dg.MaterializeResult(data_version=dg.DataVersion("none"), metadata={"note": why})


def _result(
    step: Step, experiment: Experiment, manifest: Manifest, origin: str | None, **said: bool | str
) -> dg.MaterializeResult[Any]:
    shown = metadata(step.name, manifest, experiment) | said
    if origin is not None:
        shown["settings"] = origin
    return dg.MaterializeResult(data_version=dg.DataVersion(manifest.data_version), metadata=shown)


@contextmanager
def failing_in_words(opened: Callable[[], Store], cell: str) -> Iterator[Store]:
    """What the user, or the machine, is to blame for becomes the failure's one sentence; so does a results root
    that cannot be one."""
    root = None
    try:
        store = opened()
        root = store.root
        yield store
    except MissingInput as missing:
        raise _failure(f"{missing.asset} is not there yet for {cell}; materialize it first.") from missing
    except UserError as error:
        raise _failure(str(error)) from error
    except Exception as error:
        if (explained := machine_errors.explain(error, root)) is None:
            raise
        raise _failure(str(explained)) from error


def _failure(sentence: str) -> dg.Failure:
    return dg.Failure(description=sentence, allow_retries=False)


def _observe(context: dg.AssetExecutionContext, asset: str, metrics: Mapping[str, float]) -> None:
    """One epoch's numbers, live: the asset's plot shows them while training runs."""
    numbers = {name: float(value) for name, value in metrics.items()}
    context.log_event(dg.AssetObservation(asset, partition=context.partition_key, metadata=numbers))


def _when_data_changed() -> dg.AutomationCondition[Any] | None:
    """Opt-in (the catalog's ``automation: {changed_data: {enabled: true}}``): make a cell's artifact again when
    an input of it got other bytes, with the settings that it was made with. Never what was not made before: that
    would start hours of GPU unasked."""
    entry = CATALOG.automation.get("changed_data")
    if entry is None or not entry.enabled:
        return None
    condition = dg.AutomationCondition
    changed = condition.any_deps_match(condition.data_version_changed())
    return changed & ~condition.missing() & ~condition.in_progress()
