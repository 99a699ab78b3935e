"""``icd-assets headroom``: what a better choice of demonstrations could win, before the money is spent."""

from __future__ import annotations

from contextlib import nullcontext

import click

from icd_assets.cli.cell_arguments import CellArguments, GpuCommand
from icd_assets.cli.json_output import json_option, print_json
from icd_assets.cli.moving_line import MovingLine
from icd_assets.cli.options import setting_options
from icd_assets.cli.screen import console
from icd_assets.experiment.settings import Settings

SCHEMA = 1


@click.command(
    cls=GpuCommand,
    short_help="What can be won here, and by which recipe.",
    examples=(
        "icd-assets headroom demo rand_sampler tiny_vl",
        "icd-assets headroom demo rand_sampler tiny_vl --budget 12000",
        "icd-assets headroom 'okvqa|RandSampler/Qwen2_5-VL-3B-Instruct' --json",
    ),
)
@click.argument("cell", nargs=-1, required=True, metavar="CELL")
@setting_options
@click.option(
    "--budget", type=click.IntRange(min=0), default=4000, help="Prompts at most; 0: ask none. [default: 4000]"
)
@json_option
def headroom(cell: tuple[str, ...], settings: Settings, budget: int, as_json: bool) -> None:
    """Ask the model a few thousand prompts, and say what can be won in CELL and which recipe fits.

    From RL data that are there: how often a stored pointer beats the policy's first beam. From a sample of train
    questions: what the best pair of demonstrations gains on the policy, and on the two best singles. The policy is
    the last selector that the cell's recipe trained, or similarity where there is none. Answers are
    kept and not asked again.
    """
    from icd_assets.evaluation.headroom import as_json as figures
    from icd_assets.evaluation.headroom import recipe, sentences, stored_sentence
    from icd_assets.upkeep.headroom import ask, sample, stored

    experiment = CellArguments.of(cell).open(settings)
    kinds = stored(experiment)
    if not as_json:
        for kind, found in kinds.items():
            console.print(stored_sentence(kind, found))
        if not kinds:
            console.print("no RL data to look at")
    if budget == 0:
        if as_json:
            rows = {kind: figures(found) for kind, found in kinds.items()}
            print_json(SCHEMA, {"cell": str(experiment.cell), "stored": rows, "sample": None})
        return
    drawn = sample(experiment, budget)
    if not as_json:
        where = "of all rows" if drawn.fitted else "without a candidate pool"
        console.print(
            f"asking at most {drawn.prompts:,} prompts: {len(drawn.rows)} train questions {where}, random pools",
        )
    line = MovingLine("asking")

    def show(done: int, total: int) -> None:
        line.work = f"asking: {done:,} of {total:,} prompts"

    with nullcontext() if as_json else line:
        measured = ask(experiment, drawn, show)
    found_here = measured.found
    if as_json:
        print_json(
            SCHEMA,
            {
                "cell": str(experiment.cell),
                "stored": {kind: figures(found) for kind, found in kinds.items()},
                "sample": figures(found_here)
                | {
                    "fitted": drawn.fitted,
                    "policy_is": measured.policy,
                    "prompts_asked": measured.asked,
                    "prompts_reused": measured.reused,
                    "recipe": recipe(found_here),
                    "sentences": sentences(found_here),
                },
            },
        )
        return
    console.print(f"asked {measured.asked:,} prompts, {measured.reused:,} were known")
    console.print(
        f"the policy is {measured.policy}: {100 * found_here.policy:.1f}; the best pair found: "
        f"{100 * found_here.best_pair:.1f}",
    )
    for sentence in sentences(found_here):
        console.print(sentence)
