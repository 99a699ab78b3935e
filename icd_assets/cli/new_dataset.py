"""``icd-assets new-dataset``: a folder of questions and images becomes an entry of the catalog."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import click

from icd_assets.cli.cell_arguments import SELECTOR_INPUT
from icd_assets.cli.help import Command
from icd_assets.cli.place import Place
from icd_assets.errors import UserError
from icd_assets.experiment.catalog import CATALOG, Catalog
from icd_assets.experiment.catalog_names import require_name
from icd_assets.runtime.foreign import brief
from icd_assets.runtime.user_path import expanded
from icd_assets.tasks import TASKS

_MODEL = "qwen2.5_vl_3B"
_TASK = f"Where a file could be read as several: {', '.join(TASKS)}."


@click.command(
    "new-dataset",
    cls=Command,
    short_help="Write a folder of questions and images into your catalog.",
    examples=["icd-assets new-dataset ~/signs --columns question=q,answers=a"],
)
@click.argument("folder", type=Place())
@click.option("--name", help="What to call the dataset. [default: the folder's name]")
@click.option("--task", type=click.Choice(list(TASKS)), metavar="TASK", help=_TASK)
@click.option("--train", type=Place(), metavar="FILE", help="The file of the train split.")
@click.option("--validation", type=Place(), metavar="FILE", help="That of the validation split.")
@click.option("--images", metavar="FOLDER", help="Where the images are, or a pattern with {image_id}.")
@click.option(
    "--columns",
    multiple=True,
    metavar="ROLE=COLUMN",
    help="A table's column, e.g. --columns question=text,answers=a.",
)
@click.option("--delimiter", metavar="CHARACTER", help="Between a table's fields.")
@click.option("--encoding", metavar="NAME", help="Of a table that is not UTF-8 or marked, e.g. latin-1.")
@click.option("--share", type=float, default=0.8, help="Of the images for training, if there is one file. [0.8]")
@click.option("--encoder", help="The selector's CLIP model in the catalog. [clip-vit-base-patch32]")
@click.option("--sampler-encoder", help="The samplers'. [clip-vit-large-patch14, or that of --encoder]")
@click.option("--catalog", type=Place(), metavar="FILE", help="The overlay. [ICD_CATALOG]")
@click.option("--dry-run", is_flag=True, help="Print the entry, and write nothing.")
def new_dataset(
    folder: Path,
    name: str | None,
    task: str | None,
    train: Path | None,
    validation: Path | None,
    images: str | None,
    columns: tuple[str, ...],
    delimiter: str | None,
    encoding: str | None,
    share: float,
    encoder: str | None,
    sampler_encoder: str | None,
    catalog: Path | None,
    dry_run: bool,
) -> None:
    """Find the questions, answers and images in FOLDER, and add them to your overlay of the catalog.

    Read are the official VQA files, Lever-Plus' joined ones, COCO's captions, A-OKVQA's choices, and tables: CSV,
    TSV, JSON, JSONL and Parquet with a question, an image and answers a record. Nothing in FOLDER is changed.
    """
    from icd_assets.cli.screen import console
    from icd_assets.datasets.found.layout import Hints
    from icd_assets.datasets.found.names import given_columns
    from icd_assets.experiment import new_dataset as library
    from icd_assets.experiment.catalog_overlay import add_to, entry_text, read_overlay, with_entry

    if validation is not None and train is None:
        raise UserError("--validation is given without --train; name both files.")
    path = expanded(catalog or _overlay(), "the catalog").absolute()
    name = library.name_of(folder) if name is None else name
    known = Catalog.load(path if path.is_file() else CATALOG)
    _require_free(name, known, path)
    encoder, sampler_encoder = _encoders(known, encoder, sampler_encoder)
    hints = Hints.given(given_columns(columns), delimiter, encoding)
    asked = library.Asked(hints, task, train, validation, images, share, encoder, sampler_encoder)
    made = library.new_dataset(expanded(folder, one_line=False), name, asked)
    text = entry_text(name, made.entry, f"by icd-assets new-dataset {folder}")
    with_entry(read_overlay(path), name, text, path)  # refused before anything is said
    for line in made.lines():
        console.print(line)
    if dry_run:
        console.print(f"\n(dry run) would be added to {path}:\n\ndatasets:\n{text}", end="")
        return
    add_to(path, name, text)
    console.print(f"\nadded to {path}; next:\n")
    pool = f" --set shared.pool_size={made.pool_size}" if made.pool_size is not None else ""
    cell = f"{made.task} {name} 0 {SELECTOR_INPUT} rand_sampler {_MODEL}{pool}"
    if os.environ.get("ICD_CATALOG") != str(path):
        console.print(f"  export ICD_CATALOG={shlex.quote(str(path))}")
    console.print(f"  icd-assets doctor {cell}")
    console.print(f"  icd-assets train {cell}")


def _overlay() -> Path:
    return Path(os.environ.get("ICD_CATALOG") or "catalog.yaml")


def _require_free(name: str, known: Catalog, path: Path) -> None:
    if not re.fullmatch(r"[\w-][\w.-]*", name):
        raise UserError(
            f"the name {brief(name)} holds other than letters, digits, _ - and .; take another --name."
        )
    require_name("a dataset", name)
    if name in known.datasets:
        raise UserError(f"the catalog has a dataset {name!r} already (see {path}); take another --name.")


def _encoders(known: Catalog, encoder: str | None, sampler_encoder: str | None) -> tuple[str, str]:
    chosen = encoder or "clip-vit-base-patch32", sampler_encoder or encoder or "clip-vit-large-patch14"
    for one in chosen:
        if one not in known.encoders:
            raise UserError(f"there is no encoder {one!r} in the catalog; valid: {', '.join(known.encoders)}.")
    return chosen
