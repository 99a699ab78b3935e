"""The model card of a selector: metadata for the hub, and what a reader has to know before using it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from icd_assets import __version__
from icd_assets.evaluation.tables import bracketed, signed
from icd_assets.evaluation.verdict import footnotes, verdict
from icd_assets.share.markdown import Markdown, escaped, in_code, rendered, table, with_metadata
from icd_assets.share.settings import shared_command
from icd_assets.share.trained import Trained

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

NAME = "README.md"
UNNAMED = "to-be-named"
TASKS = {
    "vqa": ("visual-question-answering", "questions about pictures"),
    "multiple_choice": ("visual-question-answering", "multiple choice about pictures"),
    "caption": ("image-to-text", "captions"),
}
_SNIPPET = """from pathlib import Path

from icd_assets import Selector, chat
from icd_assets.vlm.prompts import Shot

selector = Selector.load({arguments})
candidates = [
    Shot(Path("1.jpg"), "What color is the bus?", "red"),
    Shot(Path("2.jpg"), "What does the dog eat?", "a bone"),
    Shot(Path("3.jpg"), "Who is at the door?", "a boy"),
]
query = Shot(Path("4.jpg"), "What does the cat eat?", "")
positions = selector.select(query, candidates, shots={shots})
messages = chat(query, [candidates[position] for position in positions])"""


def card(
    trained: Trained,
    *,
    license: str | None = None,
    repo: str | None = None,
    data_repo: str | None = None,
    signed: bool = False,
) -> str:
    """Markdown with YAML on top; equal artifacts give an equal card.

    license: as the hub spells it; None: marked as a field to fill in. repo, data_repo: the ids on the hub of the
    selector and of its data, where they are there.
    """
    cell, comparison = trained.experiment.cell, trained.comparison
    body = rendered(
        "model_card.md",
        title=repo or f"{trained.name} for {cell.dataset} and {cell.model}",
        name=trained.name,
        architecture=trained.architecture,
        task=TASKS[trained.experiment.dataset.task][1],
        dataset=cell.dataset,
        sampler=cell.sampler,
        model=trained.sources[0].name,
        built_in=cell.dataset in ("demo", "demo_pairs"),
        license=license,
        shots=comparison.compare_shots,
        asked=comparison.queries,
        intervals=comparison.intervals,
        metric=comparison.metric,
        results=_results(trained),
        sentences=[*footnotes(comparison), *verdict(comparison)],
        snippet=Markdown(snippet(trained, repo)),
        encoder_note=_encoder_note(trained),
        dim=trained.experiment.fact("embeddings", "width"),
        labels=_labels(trained),
        prompts=_prompts(trained),
        data_repo=data_repo,
        data_repo_raw=Markdown(data_repo),
        sources=_sources(trained),
        command=Markdown(shared_command(trained.experiment)),
        settings=_settings(trained),
        version=__version__,
        lineage=_lineage(trained),
        signed=signed,
        repo=Markdown(repo or "REPO_ID"),
    )
    return with_metadata(_metadata(trained, license, repo, data_repo), body)


def snippet(trained: Trained, repo: str | None) -> str:
    """Python that loads the selector and chooses; without a repository, in its folder."""
    source, given = json.dumps(repo or "."), trained.encoder_to_give
    arguments = source if given is None else f"{source}, encoder={json.dumps(given)}"
    return _SNIPPET.format(arguments=arguments, shots=trained.comparison.compare_shots)


def _metadata(trained: Trained, license: str | None, repo: str | None, data_repo: str | None) -> str:
    from huggingface_hub import ModelCardData

    bases = [source.hub for source in trained.sources if source.hub is not None]
    data = ModelCardData(
        library_name="icd_assets",
        tags=[
            "in-context-learning",
            "demonstration-selection",
            "vision-language-model",
            trained.experiment.dataset.task,
        ],
        base_model=bases or None,
        datasets=[data_repo] if data_repo else None,
        metrics=[trained.comparison.metric.lower()],
        model_name=repo.rpartition("/")[2] if repo else trained.name,
        eval_results=list(_eval_results(trained)),
        license=license or "other",
        license_name=None if license else UNNAMED,
    )
    return str(data.to_yaml())


def _eval_results(trained: Trained) -> Iterator[EvalResult]:
    from huggingface_hub import EvalResult

    experiment, comparison = trained.experiment, trained.comparison
    for row in comparison.strategies:
        if row.strategy == trained.name:
            yield EvalResult(
                task_type=TASKS[experiment.dataset.task][0],
                dataset_type=experiment.cell.dataset,
                dataset_name=experiment.cell.dataset,
                dataset_split="validation",
                metric_type=comparison.metric.lower(),
                metric_name=f"{comparison.metric} of {experiment.cell.model}, {row.shots} shots",
                metric_value=round(100 * row.score.value, 2),
            )


def _results(trained: Trained) -> Markdown:
    """The main table."""
    comparison = trained.comparison
    gains = {(row.strategy, row.reference): row for row in comparison.family}
    header = {"strategy": "strategy", "score": comparison.label}
    header |= {f"vs {name}": f"vs {name}" for name in comparison.references} | {"prompts": "prompts"}
    rows: list[Mapping[str, object]] = []
    for row in comparison.main:
        shown: dict[str, object] = {"strategy": comparison.name(row), "score": bracketed(row.score)}
        if row.strategy == trained.name:
            shown["strategy"] = Markdown(f"**{escaped(trained.name)}**")
        shown |= {f"vs {name}": signed(gains.get((row.strategy, name))) for name in comparison.references}
        rows.append(shown | {"prompts": "" if row.prompts is None else f"{row.prompts:,}"})
    return table(header, rows)


def _labels(trained: Trained) -> Markdown:
    rows: list[Mapping[str, object]] = [
        {
            "labels": Markdown(in_code(asset)),
            "queries": manifest.facts.get("rows", ""),
            "version": Markdown(in_code(manifest.data_version)),
            "made": manifest.created_at[:10],
        }
        for asset, manifest in trained.labels.items()
    ]
    return table({"labels": "labels", "queries": "queries", "version": "version", "made": "made"}, rows)


def _prompts(trained: Trained) -> Markdown:
    asked = trained.comparison.row(trained.name).prompts
    return Markdown("" if asked is None else f"The labels cost {asked:,} prompts to the model.\n")


def _sources(trained: Trained) -> Markdown:
    rows: list[Mapping[str, object]] = [
        {
            "model": source.role,
            "name": source.hub or source.name,
            "revision": source.revision or "",
            "digest": Markdown(in_code(source.digest[:16])),
        }
        for source in trained.sources
    ]
    return table({"model": "model", "name": "name", "revision": "revision", "digest": "digest"}, rows)


def _settings(trained: Trained) -> Markdown | None:
    rows: list[Mapping[str, object]] = [
        {
            "setting": Markdown(in_code(one.setting.name)),
            "value": Markdown(in_code(one.text)),
            "given": "the dataset's entry in the catalog" if one.by_catalog else "the command",
        }
        for one in trained.differing
    ]
    return table({"setting": "setting", "value": "value", "given": "given by"}, rows) if rows else None


def _lineage(trained: Trained) -> Markdown:
    rows: list[Mapping[str, object]] = [
        {
            "what": Markdown(in_code(node.name)),
            "version": Markdown(in_code((node.data_version or "")[:16])),
            "made": (node.created_at or "")[:10],
            "of": ", ".join(node.inputs),
        }
        for node in trained.chains[0].walk()
    ]
    return table({"what": "what", "version": "version", "made": "made", "of": "made of"}, rows)


def _encoder_note(trained: Trained) -> Markdown:
    source = trained.sources[1]
    name = in_code(source.name)
    if trained.encoder_is_theirs:
        return Markdown(
            f"It was trained on the encoder inside a v2 checkpoint. If that is not {name} as it is, "
            "`Selector.load` refuses it."
        )
    if source.hub is not None and (source.revision is None or trained.encoder_to_give is None):
        return Markdown("The encoder is downloaded when it is first needed.")
    if source.hub is not None:
        return Markdown(
            f"It was trained with revision {in_code(source.revision)} of the encoder; of another it refuses the "
            "embeddings, so give a folder that holds that one."
        )
    if trained.encoder_comes_along:
        return Markdown(f"The encoder {name} comes with icd_assets.")
    return Markdown(f"The encoder {name} is no model of the hub: give the folder where you have it.")
