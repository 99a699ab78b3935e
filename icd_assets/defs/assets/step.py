"""How every asset runs: skip by content, make in a staging folder, commit with a manifest, report to Dagster.

An asset file holds one function ``(StepRun) -> Report``: read inputs, call one library function, write to the
staging folder, say what was made. All the rest is here, once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import dagster as dg
from pydantic import Field, create_model
from pydantic.fields import FieldInfo

from icd_assets.defs.runs.step_process import enter_process
from icd_assets.errors import UserError
from icd_assets.experiment.catalog import Catalog
from icd_assets.experiment.cell import Cell
from icd_assets.experiment.experiment import Experiment, MissingInput, results_root
from icd_assets.experiment.made_from import spec_of
from icd_assets.experiment.settings import Settings
from icd_assets.experiment.steps import STEP, Shared, Step, own_fields
from icd_assets.lineage.as_made import as_made
from icd_assets.lineage.trace import trace
from icd_assets.runtime import machine_errors, progress
from icd_assets.runtime.device import lease
from icd_assets.runtime.home import load_env_file
from icd_assets.runtime.locks import Holder
from icd_assets.runtime.provenance import describe
from icd_assets.scoring.rewards import RewardSettings
from icd_assets.store.digests import sha256_json
from icd_assets.store.manifest import Manifest, Spec
from icd_assets.store.store import Store

Read = TypeVar("Read")
_BY_CONDITION = "dagster/from_automation_condition"  # Dagster's tag of a run that a condition asked for

load_env_file()  # before the catalog, whose paths it may move
_CATALOG = Catalog.load()

partitions = dg.MultiPartitionsDefinition(
    {
        "dataset": dg.StaticPartitionsDefinition(list(_CATALOG.datasets)),
        "sampler_model": dg.StaticPartitionsDefinition(
            list(dict.fromkeys(cell.sampler_model for cell in _CATALOG.cells))
        ),
    }
)

# Read by executors, not by Dagster itself: dagster-k8s and dagster-ray place the step on a GPU.
GPU_OP_TAGS = {
    "icd/gpu": "1",
    "dagster-ray/config": {"num_gpus": 1},
    "dagster-k8s/config": {"container_config": {"resources": {"limits": {"nvidia.com/gpu": "1"}}}},
}


def changed_data(step: Step) -> dg.AutomationCondition[Any] | None:
    """Opt-in (the catalog's ``automation: {changed_data: {enabled: true}}``): make a cell's artifact again when
    an input of it got other bytes, with the settings that it was made with. Never what was not made before: that
    would start hours of GPU unasked."""
    entry = _CATALOG.automation.get("changed_data")
    if entry is None or not entry.enabled:
        return None
    condition = dg.AutomationCondition
    changed = condition.any_deps_match(condition.data_version_changed())
    return changed & ~condition.missing() & ~condition.in_progress()


class SharedResource(Shared, dg.ConfigurableResource[Shared]):
    """What all steps of a cell must agree on; set it once per run."""

    results_root: str = Field(
        default_factory=lambda: str(results_root()),
        description="Folder of all artifacts, in Lever-Plus' layout. Default: $RESULT_DIR, else ./results.",
    )

    def store(self) -> Store:
        return Store(Path(self.results_root).expanduser() if self.results_root else results_root())

    def settings(self) -> Shared:
        return Shared(**{name: getattr(self, name) for name in Shared.model_fields})


class RewardResource(RewardSettings, dg.ConfigurableResource[RewardSettings]):
    """The reward that RCE and GRPO learn from; set it once per run."""

    def settings(self) -> RewardSettings:
        return RewardSettings(**{name: getattr(self, name) for name in RewardSettings.model_fields})


def open_experiment(
    partition_key: str,
    shared: SharedResource,
    reward: RewardResource,
    explicit: dict[str, dict[str, Any]] | None = None,
) -> Experiment:
    """The cell of a run, with the run's settings."""
    settings = Settings(shared=shared.settings(), reward=reward.settings(), explicit=explicit or {})
    return Experiment(Cell.parse(partition_key), settings, shared.store(), Catalog.load())


@dataclass(frozen=True)
class StepRun:
    """What an asset's function is given."""

    experiment: Experiment
    config: Any
    spec: Spec
    staging: Path
    device: str
    on_progress: progress.OnProgress
    note: Callable[[str], None]  # one line for the run's log and the terminal
    context: dg.AssetExecutionContext

    def read(self, asset: str, reader: Callable[[list[Path], Mapping[str, Any]], Read]) -> Read:
        """What ``reader`` makes of an input's verified files and its facts.

        Another run may make the input again at any moment: it must be the one that the spec names before it is
        read and after, or the artifact would say that it is made of what it is not.
        """
        manifest = self._as_wanted(asset)
        found = reader(self.experiment.store.files(manifest), manifest.facts)
        self._as_wanted(asset)
        return found

    def _as_wanted(self, asset: str) -> Manifest:
        manifest = self.experiment.store.require(self.experiment.manifest_path(asset), asset)
        given = next(given for name, given in self.spec.inputs.items() if name.partition(".")[0] == asset)
        # Of a v2 checkpoint the encoder alone may be spec.
        if given.data_version not in (manifest.data_version, manifest.facts.get("encoder_digest")):
            raise UserError(
                f"another run made {asset} again while {self.spec.asset} was about to read it; run this again."
            )
        return manifest

    def observe(self, metrics: Mapping[str, float]) -> None:
        """One epoch's numbers, live: the asset's plot shows them while training runs."""
        asset, partition = self.spec.asset, self.context.partition_key
        numbers = {name: float(value) for name, value in metrics.items()}
        self.context.log_event(dg.AssetObservation(asset, partition=partition, metadata=numbers))


@dataclass(frozen=True)
class Report:
    """What an asset's function made: ``files`` maps each final path to its staged one; ``facts`` go into the
    manifest and, if they are plain numbers or texts, into the UI."""

    files: Mapping[Path, Path]
    facts: Mapping[str, Any]
    origin: str = "made"


def asset_config(step: Step) -> type[dg.Config]:
    """The step's settings as a Launchpad form: the library's fields, less the shared ones, and ``force``."""
    fields: dict[str, Any] = {"force": (bool, Field(False, description="Make it again even if it is up to date."))}
    for name in own_fields(step):
        info: FieldInfo = step.config.model_fields[name]
        if name in step.unset and info.default is not None:
            description = f"{info.description} Unset: the catalog's value for the dataset, else {info.default}."
            optional: Any = info.annotation
            fields[name] = (optional | None, Field(None, description=description))
        else:
            fields[name] = (info.annotation, info)
    config: type[dg.Config] = create_model(f"{step.name}_config", __base__=dg.Config, **fields)
    return config


# From an artifact's facts, what the UI shows besides plain numbers: a run that found nothing to do shows it too.
Show = Callable[[Mapping[str, Any]], Mapping[str, Any]]
_SHOW: dict[str, Show] = {}


def _nothing_more(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    return {}


def step_asset(
    name: str, kinds: set[str], show: Show = _nothing_more
) -> Callable[[Callable[[StepRun], Report]], dg.AssetsDefinition]:
    """Turn ``(StepRun) -> Report`` into the asset of the step ``name``."""
    step = STEP[name]
    _SHOW[name] = show

    def wrap(make: Callable[[StepRun], Report]) -> dg.AssetsDefinition:
        def compute(context: Any, config: Any, shared: Any, reward: Any) -> Any:
            enter_process(context)
            explicit = config.model_dump(exclude={"force"})
            experiment = open_experiment(context.partition_key, shared, reward, {name: explicit})
            if _BY_CONDITION in context.run.tags:
                experiment = as_made(experiment, name)  # such a run carries no settings of its own
            with failing_in_words(experiment.store, str(experiment.cell)):
                manifest, skipped = _run(step, make, experiment, context, config.force)
                return dg.MaterializeResult(
                    data_version=dg.DataVersion(manifest.data_version),
                    metadata=metadata(name, manifest, experiment) | {"skipped": skipped},
                )

        # Dagster reads the signature's types; the config type is known only now.
        compute.__annotations__ = {
            "context": dg.AssetExecutionContext,
            "config": asset_config(step),
            "shared": SharedResource,
            "reward": RewardResource,
            "return": dg.MaterializeResult,
        }
        return dg.asset(
            name=name,
            partitions_def=partitions,
            deps=list(step.parents),
            description=step.description,
            code_version=step.code_version,
            kinds=kinds,
            pool="gpu" if step.gpu else None,
            op_tags=GPU_OP_TAGS if step.gpu else None,
            tags={"icd/gpu": "required"} if step.gpu else None,
            automation_condition=changed_data(step),
            group_name="icd",
        )(compute)

    return wrap


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


def _run(
    step: Step,
    make: Callable[[StepRun], Report],
    experiment: Experiment,
    context: dg.AssetExecutionContext,
    force: bool,
) -> tuple[Manifest, bool]:
    """The artifact's manifest, and whether there was nothing to do."""
    store, path = experiment.store, experiment.manifest_path(step.name)
    holder = Holder(f"{step.name} of {experiment.cell}", context.run.run_id)

    def note(text: str) -> None:
        context.log.info(f"{step.name}: {text}")
        progress.current.noted(step.name, text)

    with store.lock(path, holder, note):
        store.recover(path)
        reason = "forced" if force else store.stale(path, spec_of(experiment, step.name))
        if reason is None:
            manifest = store.require(path, step.name)
            context.log.info(f"{step.name}: nothing to do, {path} is up to date")
            progress.current.skipped(step.name)
            return manifest, True
        if not force and (there := store.read(path)) is not None and store.altered(there) is not None:
            raise UserError(f"{reason}.")
        context.log.info(f"{step.name}: {reason}")
        progress.current.started(step.name, reason)
        began = time.monotonic()
        gpu = lease(holder, note) if experiment.needs_gpu(step.name) else nullcontext("cpu")
        with ExitStack() as held:
            device = held.enter_context(gpu)
            spec = spec_of(experiment, step.name, afresh=True)  # of the inputs as they are after hours of waiting
            staging = held.enter_context(store.staging(path, spec, afresh=force))
            run = StepRun(
                experiment=experiment,
                config=experiment.config(step.name),
                spec=spec,
                staging=staging,
                device=device,
                on_progress=progress.Progress(step.name, context.log.info),
                note=note,
                context=context,
            )
            report = make(run)
            store.mark_unrecorded(context.run.run_id, experiment.cell.key)
            manifest = store.commit(
                path,
                report.files,
                spec=spec,
                config_digest=sha256_json(spec.config),
                facts=dict(report.facts),
                origin=report.origin,
                cell=experiment.cell.key,
                run_id=context.run.run_id,
                created_at=datetime.now(UTC).isoformat(timespec="seconds"),
                seconds=round(time.monotonic() - began, 1),
                environment=describe(device),
            )
    progress.current.ended(step.name, manifest.seconds)
    return manifest, False


def metadata(name: str, manifest: Manifest, experiment: Experiment) -> dict[str, Any]:
    """What the event shows: first what was made, then the exact upstream runs, then the config."""
    shown: dict[str, Any] = dict(_SHOW[name](manifest.facts))
    for name, value in manifest.facts.items():
        if name == "rows":
            shown["dagster/row_count"] = value
        elif name not in shown and isinstance(value, int | float | str):
            shown[name] = round(value, 4) if isinstance(value, float) else value
    there = next(record for record in manifest.files if record.pruned is None)
    shown["path"] = dg.MetadataValue.path(str(experiment.store.resolve(there)))
    inputs = dict(manifest.spec.inputs)
    if (rl_data := trace(experiment.store, manifest, "rl_data")) is not None:
        inputs["rl_data"] = rl_data  # from a checkpoint and its evaluation, one click to the data it learned from
    for name, given in inputs.items():
        shown[f"{name}/data_version"] = given.data_version[:16]
        if given.run_id is not None:
            shown[f"{name}/run"] = dg.MetadataValue.dagster_run(given.run_id)
    if manifest.vlm:
        shown["vlm"] = ", ".join(digest[:16] for digest in manifest.vlm)
    shown["origin"] = manifest.origin
    if manifest.run_id is None:
        return shown | {"unknown": ", ".join(manifest.unknown)}
    return shown | {
        "made_by_run": dg.MetadataValue.dagster_run(manifest.run_id),
        "seconds": manifest.seconds,
        "device": manifest.environment["device"],
        "config": dg.MetadataValue.json(manifest.spec.config),
    }
