"""How a step of the table becomes an asset of Dagster's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dagster as dg
from pydantic import Field, create_model
from pydantic.fields import FieldInfo

from icd_assets.assets.build import Run, build
from icd_assets.defs.assets.metadata import metadata
from icd_assets.defs.assets.partitions import partitions
from icd_assets.defs.assets.resources import RewardResource, SharedResource, open_experiment
from icd_assets.defs.runs.known_cells import add_cells
from icd_assets.defs.runs.step_process import enter_process
from icd_assets.errors import MissingInput, UserError
from icd_assets.experiment.catalog import Catalog
from icd_assets.experiment.step import Step
from icd_assets.experiment.steps import own_fields
from icd_assets.lineage.as_made import as_made
from icd_assets.runtime import machine_errors
from icd_assets.runtime.home import load_env_file
from icd_assets.store.store import Store

load_env_file()  # before the catalog, whose paths it may move
CATALOG = Catalog.load()

_BY_CONDITION = "dagster/from_automation_condition"  # Dagster's tag of a run that a condition asked for

# Read by executors, not by Dagster itself: dagster-k8s and dagster-ray place the step on a GPU.
GPU_OP_TAGS = {
    "icd/gpu": "1",
    "dagster-ray/config": {"num_gpus": 1},
    "dagster-k8s/config": {"container_config": {"resources": {"limits": {"nvidia.com/gpu": "1"}}}},
}


def step_asset(step: Step) -> dg.AssetsDefinition:
    """One asset, partitioned by cell."""

    def compute(context: Any, config: Any, shared: Any, reward: Any) -> Any:
        enter_process(context)
        explicit = config.model_dump(exclude={"force"})
        run = Run(context.run.run_id, context.log.info, lambda metrics: _observe(context, step.name, metrics))
        with failing_in_words(shared.store(), context.partition_key):
            experiment = open_experiment(context.partition_key, shared, reward, {step.name: explicit})
            add_cells(context.instance, [experiment.cell.key])
            if _BY_CONDITION in context.run.tags:
                experiment = as_made(experiment, step.name)  # such a run carries no settings of its own
            manifest, skipped = build(experiment, step.name, run, force=config.force)
            return dg.MaterializeResult(
                data_version=dg.DataVersion(manifest.data_version),
                metadata=metadata(step.name, manifest, experiment) | {"skipped": skipped},
            )

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
    )(compute)


def launchpad_form(step: Step) -> type[dg.Config]:
    """The step's settings as a Launchpad form: the library's fields, less the shared ones, and ``force``."""
    fields: dict[str, Any] = {"force": (bool, Field(False, description="Make it again even if it is up to date."))}
    for name in own_fields(step):
        info: FieldInfo = step.config.model_fields[name]
        if name in step.catalog_fields and info.default is not None:
            description = f"{info.description} Unset: the catalog's value for the dataset, else {info.default}."
            optional: Any = info.annotation
            fields[name] = (optional | None, Field(None, description=description))
        else:
            fields[name] = (info.annotation, info)
    config: type[dg.Config] = create_model(f"{step.name}_config", __base__=dg.Config, **fields)
    return config


@contextmanager
def failing_in_words(store: Store, cell: str) -> Iterator[None]:
    """What the user, or the machine, is to blame for becomes the failure's one sentence."""
    try:
        yield
    except MissingInput as missing:
        raise _failure(f"{missing.asset} is not there yet for {cell}; materialize it first.") from missing
    except UserError as error:
        raise _failure(str(error)) from error
    except (OSError, MemoryError, RuntimeError) as error:
        if (explained := machine_errors.explain(error, store.root)) is None:
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
