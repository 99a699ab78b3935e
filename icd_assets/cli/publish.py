"""``icd-assets export`` and ``icd-assets publish``: a cell's selector and its data for others."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from icd_assets.cli.card import license_option
from icd_assets.cli.cell_arguments import GpuCommand
from icd_assets.cli.echo import echo
from icd_assets.cli.json_output import json_option, print_json
from icd_assets.cli.options import setting_options
from icd_assets.cli.place import Place
from icd_assets.cli.screen import is_screen
from icd_assets.cli.session import Session
from icd_assets.cli.summary import path_shown
from icd_assets.experiment.settings import Settings

if TYPE_CHECKING:
    from icd_assets.share.hub import Kind
    from icd_assets.share.trained import Trained

SCHEMA = 1
sign_option = click.option(
    "--sign", "key", type=Place(), metavar="KEY", help="Sign all files with this private key."
)
data_license_option = click.option(
    "--data-license", metavar="ID", help="Licence of the data, which holds questions."
)


@click.command(
    cls=GpuCommand,
    short_help="A selector's folder for others, on this machine.",
    examples=(
        "icd-assets export --to selector               # of the demo",
        "icd-assets export okvqa rand_sampler qwen2.5_vl_3B --to selector --license mit",
        "icd-assets export --to selector --data data   # its labels and predictions too",
    ),
)
@click.argument("cell", nargs=-1, metavar="[CELL]")
@click.option("--to", required=True, type=Place(), metavar="FOLDER", help="A new folder. [required]")
@click.option("--data", type=Place(), metavar="FOLDER", help="A new folder for its data.")
@license_option
@data_license_option
@sign_option
@setting_options
def export(
    cell: tuple[str, ...],
    to: Path,
    data: Path | None,
    license: str | None,
    data_license: str | None,
    key: Path | None,
    settings: Settings,
) -> None:
    """Write the selector that CELL trained last into a new folder: config.json and model.safetensors, which
    Selector.load reads, its card, its lineage and its evaluation.

    What Lever-Plus' recipe ends in, a v2-format .ckpt, becomes such a folder too, and chooses the same.
    """
    from icd_assets.share.dataset import write_dataset
    from icd_assets.share.folder import new_folder, write_folder
    from icd_assets.share.license import require_license

    require_license(license, "--license")
    require_license(data_license, "--data-license")
    trained = _trained(cell, settings)
    new_folder(to, lambda folder: write_folder(folder, trained, license=license, key=key))
    echo(f"{path_shown(to.absolute())}: {trained.name} of {trained.experiment.cell}")
    if data is not None:
        new_folder(data, lambda folder: write_dataset(folder, trained, license=data_license))
        echo(f"{path_shown(data.absolute())}: its labels and predictions")


@click.command(
    cls=GpuCommand,
    short_help="Put a selector, and its data, on a hub.",
    examples=(
        "icd-assets publish me/demo-selector --license mit --dry-run",
        "icd-assets publish okvqa rand_sampler qwen2.5_vl_3B me/okvqa --license mit",
        "icd-assets publish me/demo-selector --license mit --sign KEY.pem",
        "icd-assets publish me/demo-selector --license mit \\\n"
        "    --dataset me/demo-labels --data-license cc-by-4.0",
    ),
)
@click.argument("cell", nargs=-1, metavar="[CELL]")
@click.argument("repo_id")
@click.option("--private", is_flag=True, help="Only for you and those whom you let in.")
@click.option("--dry-run", is_flag=True, help="Name every file and its size, and upload nothing.")
@click.option("--dataset", metavar="REPO_ID", help="Publish its labels and predictions there, texts included.")
@license_option
@data_license_option
@sign_option
@setting_options
@json_option
def publish(
    cell: tuple[str, ...],
    repo_id: str,
    private: bool,
    dry_run: bool,
    dataset: str | None,
    license: str | None,
    data_license: str | None,
    key: Path | None,
    settings: Settings,
    as_json: bool,
) -> None:
    """Put the selector that CELL trained last into the repository REPO_ID, OWNER/NAME, of the hub.

    One commit, or none if the same is there already. No picture is ever uploaded, and no text of the dataset
    without --dataset. The hub is huggingface.co, or what HF_ENDPOINT names; the token is that of hf auth login.
    """
    from icd_assets.share.dataset import write_dataset
    from icd_assets.share.folder import write_folder
    from icd_assets.share.hub import require_repo_id, require_token
    from icd_assets.share.license import require_license, require_named

    require_repo_id(repo_id)
    require_license(license, "--license")
    require_license(data_license, "--data-license")
    require_named(license, "--license")
    if dataset is not None:
        require_repo_id(dataset)
        require_named(data_license, "--data-license")
    if not dry_run:
        require_token()
    trained = _trained(cell, settings)
    with tempfile.TemporaryDirectory() as place:  # all of it is there before any of it goes up
        data, model = Path(place) / "data", Path(place) / "model"
        puts = [_Put("repository", repo_id, "model", model)]
        model.mkdir()
        write_folder(model, trained, license=license, repo=repo_id, data_repo=dataset, key=key)
        if dataset is not None:
            puts.insert(0, _Put("dataset", dataset, "dataset", data))
            data.mkdir()
            write_dataset(data, trained, license=data_license, repo=dataset)
        done = {put.key: put.upload(private, dry_run) for put in puts}
    if as_json:
        found = {"cell": str(trained.experiment.cell), "selector": trained.name, "dry_run": dry_run}
        print_json(SCHEMA, {**found, "repository": None, "dataset": None, **done})
        return
    for one in done.values():
        _show(one)


def _trained(cell: Sequence[str], settings: Settings) -> Trained:
    from icd_assets.share.trained import Trained

    session = Session.here(settings)
    return Trained.of(session.open(session.cell_or_demo(cell)))


class _Put(NamedTuple):
    """A folder and where it goes."""

    key: str
    repo_id: str
    kind: Kind
    folder: Path

    def upload(self, private: bool, dry_run: bool) -> dict[str, Any]:
        """What is uploaded, and what came of it."""
        from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

        from icd_assets.share.hub import upload

        files = [{"path": path.name, "size": path.stat().st_size} for path in sorted(self.folder.iterdir())]
        found: dict[str, Any] = {"repo_id": self.repo_id, "files": files, "url": None, "commit": None, "new": None}
        if dry_run:
            return found
        if not is_screen():
            disable_progress_bars()
        return found | upload(self.folder, self.repo_id, kind=self.kind, private=private)._asdict()


def _show(found: dict[str, Any]) -> None:
    if found["url"] is None:
        echo(f"{found['repo_id']} would get:")
    else:
        what = "published" if found["new"] else "is up to date"
        echo(f"{found['url']} {what}: commit {found['commit'][:12]}")
    for one in found["files"]:
        echo(f"  {one['size']:>12,}  {one['path']}")
