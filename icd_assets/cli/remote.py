"""``icd-assets push`` and ``pull``, and what ``status`` and ``prune`` say of a remote."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from icd_assets.cli.cell_arguments import GpuCommand
from icd_assets.cli.json_output import json_option, print_json
from icd_assets.cli.moving_line import MovingLine
from icd_assets.cli.screen import console
from icd_assets.cli.session import Session
from icd_assets.errors import UserError
from icd_assets.experiment.plan import require_assets
from icd_assets.runtime.foreign import printable

if TYPE_CHECKING:
    from icd_assets.remote.push import Done

SCHEMA = 1
_TITLES = {
    "same": "the same here and there",
    "only here": "only here (push)",
    "newer here": "newer here (push)",
    "only there": "only there (pull)",
    "newer there": "newer there (pull)",
    "apart": "made apart here and there (push or pull with --replace)",
}

remote_option = click.option(
    "--remote", metavar="ADDRESS", help="s3://BUCKET/PREFIX, gs://, az:// or a folder. [ICD_REMOTE]"
)
_Option = Callable[[Callable[..., Any]], Callable[..., Any]]


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Those that both directions have."""
    every: list[_Option] = [
        click.argument("cells", nargs=-1, metavar="[CELL]..."),
        remote_option,
        click.option("--only", multiple=True, metavar="ASSET", help="Of each cell this alone; may be repeated."),
        click.option("--no-answers", is_flag=True, help="Leave the VLMs' answers out; so does --only."),
        click.option("--replace", is_flag=True, help="Also what was made apart here and there."),
        click.option("--dry-run", is_flag=True, help="Show what would be moved, and move nothing."),
        json_option,
    ]
    for option in reversed(every):
        command = option(command)
    return command


@click.command(
    cls=GpuCommand,
    short_help="Put results on a remote, for other machines.",
    examples=(
        "icd-assets push --remote s3://our-bucket/okvqa",
        "icd-assets push okvqa rand_sampler qwen2.5_vl_3B --remote /mnt/team",
        "icd-assets push --only evaluation --dry-run      # of ICD_REMOTE",
    ),
)
@_options
def push(**words: Any) -> None:
    """Put every artifact of the CELLs (or of all cells) that the remote does not have, and answers of VLMs.

    A file that is there is not sent again, so what was interrupted goes on where it was. An artifact is seen there
    once all its files are. Credentials come from the store's own variables, such as AWS_ACCESS_KEY_ID.
    """
    from icd_assets.remote.push import push as push_all

    _move("push", push_all, words)


@click.command(
    cls=GpuCommand,
    short_help="Take results from a remote.",
    examples=(
        "icd-assets pull --remote s3://our-bucket/okvqa",
        "icd-assets pull okvqa rand_sampler qwen2.5_vl_3B --only rl_selector",
    ),
)
@_options
def pull(**words: Any) -> None:
    """Take every artifact of the CELLs (or of all cells) that is not here, or is damaged here, and VLMs' answers.

    Then `icd-assets train` makes none of them again, and asks no VLM what another machine has asked. What an
    artifact was made from is known to `lineage` even where --only leaves its files out.
    """
    from icd_assets.remote.pull import pull as pull_all

    def waiting(sentence: str) -> None:
        console.print(printable(sentence))

    def with_wait(here: Any, remote: Any, on_progress: Any, **rest: Any) -> Done:
        return pull_all(here, remote, on_progress, waiting, **rest)

    _move("pull", with_wait, words)


def _move(name: str, move: Callable[..., Done], words: dict[str, Any]) -> None:
    from icd_assets.remote.here import Here
    from icd_assets.remote.place import Place

    only, dry_run, as_json = words["only"], words["dry_run"], words["as_json"]
    for asset in only:
        require_assets(asset, ())
    session = Session.here()
    remote = Place.open(words["remote"], make=name == "push" and not dry_run)
    keys = {cell.key for cell in session.cells(words["cells"])}
    line = MovingLine("looking at what is there")

    def show(done: int, total: int) -> None:
        line.work = f"{name}: {done / 1e6:,.1f} of {total / 1e6:,.1f} MB"

    with nullcontext() if as_json else line:
        done = move(
            Here(session.store),
            remote,
            show,
            cells=keys,
            only=only,
            replace=words["replace"],
            answers=not (only or words["no_answers"]),
            dry_run=dry_run,
        )
    if as_json:
        print_json(SCHEMA, {"remote": remote.address, "dry_run": dry_run, **asdict(done)})
        return
    verb = {"push": "pushed", "pull": "pulled"}[name]
    for place in done.moved:
        console.print(printable(f"  {place}"))
    for sentence in done.left_alone:
        console.print(printable(f"left alone: {sentence}"))
    kind = "files of answers" if name == "pull" and dry_run else "answers"
    answers = f", {done.answers} {kind}" if done.answers else ""
    where = {"push": "there", "pull": "here"}[name]
    console.print(
        f"{len(done.moved)} {'would be ' if dry_run else ''}{verb} ({done.bytes / 1e6:.1f} MB{answers}), "
        f"{done.up_to_date} {where} already"
    )


def show_status(session: Session, address: str, words: Sequence[str], *, as_json: bool) -> None:
    """``status --remote``."""
    from icd_assets.remote.compare import compare
    from icd_assets.remote.here import Here
    from icd_assets.remote.place import Place

    remote = Place.open(address)
    keys = {cell.key for cell in session.cells(words)}
    found, sentences = compare(Here(session.store), remote, keys)
    if as_json:
        print_json(
            SCHEMA, {"remote": remote.address, "artifacts": [asdict(one) for one in found], "broken": sentences}
        )
        return
    for state, title in _TITLES.items():
        places = [one.place for one in found if one.state == state]
        if places:
            console.print(f"{title}: {len(places)}", style="bold")
        for place in places if state != "same" else ():
            console.print(printable(f"  {place}"))
    for sentence in sentences:
        console.print(printable(sentence))
    if not found:
        console.print("nothing here or there")


def prune_remote(address: str, older_than: timedelta, *, yes: bool, as_json: bool) -> None:
    """``prune --remote``."""
    from icd_assets.remote.place import Place
    from icd_assets.remote.sweep import sweep

    remote = Place.open(address)
    found = sweep(remote, older_than=older_than, dry_run=not yes)
    if as_json:
        removals = [{"name": name, "size": size} for name, size in found.names.items()]
        freed = found.bytes if yes else 0
        rest = {"removed": yes, "freed": freed, "removals": removals, "left_alone": found.left_alone}
        print_json(SCHEMA, {"remote": remote.address, **rest})
        return
    for name, size in found.names.items():
        console.print(printable(f"{size / 1e6:9.1f} MB  {name}"))
    for sentence in found.left_alone:
        console.print(printable(f"left alone: {sentence}"))
    if not found.names:
        console.print("nothing to prune")
        return
    total = f"{len(found.names)}, {found.bytes / 1e6:.1f} MB"
    console.print(f"removed {total}" if yes else f"would remove {total}; repeat it with --yes to do it")


def require_no(names: dict[str, bool]) -> None:
    """Raises :class:`UserError` for options that mean nothing beside ``--remote``."""
    for name, given in names.items():
        if given:
            raise UserError(f"{name} means nothing beside --remote; leave one of them out.")
